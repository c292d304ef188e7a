"""Randomness with names: every draw is a pure function of (seed, source, path, example, counter).

    key      = fold(seed, source, *path)                 one 64-bit number; path is (epoch, view, ...)
    stream_i = splitmix64(key + GAMMA * (index_i + 1))   one 64-bit number for each example
    bits_ij  = splitmix64(stream_i + GAMMA * (j + 1))    draw j of example i
    uniform  = top 53 bits of bits_ij / 2**53            in [0, 1)

So an example gets the same draws whatever its batch, order, rank or worker, and nothing about randomness needs to be
stored to resume. A seed or key is a whole number from 0 to 2**64 - 1; another is refused, because wrapped it would be
the same as one of these. `splitmix64` is the finalizer of Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014 (variant 13 of Stafford); `stream_i` with growing j is exactly its generator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from numbers import Integral

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from .check import InputError, unknown

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
MULTIPLY_1 = 0xBF58476D1CE4E5B9
MULTIPLY_2 = 0x94D049BB133111EB


class Source(StrEnum):
    """What a draw is for. Draws of different sources are independent, whatever the seeds."""

    INIT = "init"
    SHUFFLE = "shuffle"
    AUGMENT = "augment"
    MIX = "mix"
    ATTACK = "attack"
    DROPOUT = "dropout"
    CORRUPT = "corrupt"


def mix64(word: int) -> int:
    """The finalizer of splitmix64 on one unsigned 64-bit number: a bijection that spreads every input bit over all."""
    word = ((word ^ (word >> 30)) * MULTIPLY_1) & MASK
    word = ((word ^ (word >> 27)) * MULTIPLY_2) & MASK
    return word ^ (word >> 31)


def check_seed(value: object, *, name: str = "seed") -> int:
    """`value` as an `int`; raises `InputError` unless it is a whole number (Python's or numpy's) from 0 to 2**64 - 1.

    >>> check_seed(3), check_seed(2**64 - 1) == MASK
    (3, True)
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name}: got {type(value).__name__}, expected an integer, 0 to 2**64 - 1")
    number = int(value)
    if not 0 <= number <= MASK:
        raise InputError(f"{name}: got {number}, expected 0 to 2**64 - 1")
    return number


def _word(part: int | str) -> int:
    if isinstance(part, int) and not 0 <= part <= MASK:
        part = f"{int(part)}"  # not wrapped: it would be the same as another number
    if isinstance(part, str):
        return int.from_bytes(blake2b(part.encode(), digest_size=8).digest(), "little")
    return check_seed(part, name="part of a path")


def fold(*parts: int | str) -> int:
    """Hash a path of numbers and names to one unsigned 64-bit number. Order matters; the same on every machine.

    A number outside of 0 to 2**64 - 1 is hashed as its digits are. Raises `InputError` for what is no whole number.

    >>> fold(1, "augment", 0) == fold(1, "augment", 0), fold(1, "augment", 0) == fold(0, "augment", 1)
    (True, False)
    """
    state = len(parts)
    for part in parts:
        state = mix64((state + GAMMA) & MASK ^ mix64(_word(part)))
    return state


@dataclass(frozen=True)
class Seeds:
    """One seed for a run, and other seeds for chosen sources, so that one source can vary while the rest stay.

    Raises `InputError` for a source that there is not, and for a seed outside of 0 to 2**64 - 1.

    >>> a, b = Seeds(1), Seeds(1, {Source.SHUFFLE: 2})
    >>> a.key(Source.AUGMENT, 0) == b.key(Source.AUGMENT, 0), a.key(Source.SHUFFLE, 0) == b.key(Source.SHUFFLE, 0)
    (True, False)
    """

    base: int = 0
    overrides: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for source in self.overrides:
            if source not in set(Source):
                raise unknown("source of randomness", source, Source)
        object.__setattr__(self, "base", check_seed(self.base))
        others = {source: check_seed(seed, name=f"seed of {source}") for source, seed in self.overrides.items()}
        object.__setattr__(self, "overrides", others)

    def key(self, source: Source, *path: int | str) -> int:
        """The 64-bit key of `source` at `path`, for example `(epoch, view)`."""
        return fold(self.overrides.get(source, self.base), source.value, *path)

    def generator(self, source: Source, *path: int | str, device: torch.device | str = "cpu") -> torch.Generator:
        """A torch generator seeded by `key`, for draws whose order is fixed: a permutation, an initialization."""
        return torch.Generator(device).manual_seed(self.key(source, *path) >> 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _mix64(word: Tensor) -> Tensor:
    # int64 arithmetic wraps, and a logical right shift is an arithmetic one with the copied sign bits masked off.
    word = (word ^ ((word >> 30) & ((1 << 34) - 1))) * _signed(MULTIPLY_1)
    word = (word ^ ((word >> 27) & ((1 << 37) - 1))) * _signed(MULTIPLY_2)
    return word ^ ((word >> 31) & ((1 << 33) - 1))


def streams(key: int, index: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """One stream for each example index (its place in the data set, not in the batch), on the index's device.

    Raises `InputError` for a key outside of 0 to 2**64 - 1, and for an index that is not int64.

    >>> streams(7, torch.tensor([3, 5]))[1] == streams(7, torch.tensor([5]))[0]
    tensor(True)
    """
    if index.dtype != torch.int64:
        raise InputError(f"index: got dtype {index.dtype}, expected int64 example indices")
    return _mix64((index + 1) * _signed(GAMMA) + _signed(check_seed(key, name="seed or key")))


def bits(stream: Int64[Tensor, "*n"], count: int, start: int = 0) -> Int64[Tensor, "*n {count}"]:
    """Draws `start` to `start + count - 1` of each stream as 64 random bits, in int64's two's complement."""
    counter = torch.arange(start + 1, start + count + 1, device=stream.device) * _signed(GAMMA)
    return _mix64(stream.unsqueeze(-1) + counter)


def uniform(stream: Int64[Tensor, "*n"], count: int, start: int = 0) -> Float64[Tensor, "*n {count}"]:
    """Draws `start` to `start + count - 1` of each stream, uniform on [0, 1) in steps of 2**-53.

    >>> u = uniform(streams(7, torch.arange(4)), 3)
    >>> bool(((u >= 0) & (u < 1)).all()), torch.equal(u[:, 1:], uniform(streams(7, torch.arange(4)), 2, start=1))
    (True, True)
    """
    top = (bits(stream, count, start) >> 11) & ((1 << 53) - 1)
    return top.to(torch.float64) * 2.0**-53


def fresh_key() -> int:
    """A key drawn from the default generator of torch, for callers who give none; `torch.manual_seed` fixes it."""
    return int(torch.randint(-(2**63), 2**63 - 1, ()).item()) & MASK
