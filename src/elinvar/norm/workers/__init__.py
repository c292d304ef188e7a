"""Several workers: statistics pooled over them, and rows shuffled between them."""

from .group import Workers as Workers
from .pooled import across as across
from .shuffle import Shuffle as Shuffle
from .shuffle import shuffle as shuffle
from .shuffle import unshuffle as unshuffle
from .shuffled import Shuffled as Shuffled
