"""The run-time type checker of the tests: beartype, which lets an int stand where a float is wanted, as Python does."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
