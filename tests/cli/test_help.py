"""What help says of data sets comes from the table of data sets."""

from dataclasses import replace

import pytest

from elinvar.cli.main import main
from elinvar.data import DATASETS


def shown(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    return "".join(capsys.readouterr().out.split())  # lines may break at hyphens


@pytest.mark.parametrize("verb", ["train", "corrupt", "reproduce"])
def test_names_every_kind_of_data(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "moons", replace(DATASETS["cifar10"], form="moons:DIR"))
    *forms, last = (reader.form for reader in DATASETS.values())
    assert last == "moons:DIR"
    assert f"{','.join(forms)}or{last}" in shown(verb, capsys)


@pytest.mark.parametrize("verb", ["train", "corrupt"])
def test_names_those_that_are_read_at_a_size(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "sideoftheimages,fordigitsorfolder:DIR" in shown(verb, capsys)
