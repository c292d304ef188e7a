"""Several workers: statistics pooled over them, and rows shuffled between them."""

from .group import Workers as Workers
from .pooled import across as across
from .shuffled import Shuffled as Shuffled
from .shuffling import Shuffle as Shuffle
from .shuffling import shuffle as shuffle
from .shuffling import unshuffle as unshuffle
