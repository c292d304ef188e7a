"""What an experiment is: one seed's numbers from a function, what is claimed about them, and what the paper found.

A new experiment is one file with an `Experiment` in it, and one row in `table.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import torch

from ..check import InputError

T = TypeVar("T")

Rows = dict[str, dict[str, float]]
"""setting -> measure -> number: a table in the order in which it is read, of the same shape for every seed"""


class Scale(StrEnum):
    """How large a run is."""

    SMOKE = "smoke"  # seconds: whether it runs, and most directions
    SMALL = "small"  # minutes on two cores: shows the effect
    PAPER = "paper"  # the paper's setting, as far as the data at hand allow


def _silent(line: str) -> None:
    del line


@dataclass(frozen=True, kw_only=True)
class Job:
    """One seed of an experiment.

    seed    of every source of randomness
    device  where to compute
    data    what `elinvar.data.load` takes, such as "cifar10:DIR"; None where the experiment brings its own
    say     shows a line of progress
    """

    scale: Scale
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    data: str | None = None
    say: Callable[[str], None] = _silent

    def pick(self, *, smoke: T, small: T, paper: T) -> T:
        """The value for this job's scale."""
        return {Scale.SMOKE: smoke, Scale.SMALL: small, Scale.PAPER: paper}[self.scale]


@dataclass(frozen=True)
class Cell:
    """A place in the table: a setting and a measure."""

    setting: str
    measure: str

    def __str__(self) -> str:
        return f"{self.measure}, {self.setting}"


@dataclass(frozen=True)
class Exceeds:
    """Claims that `first` is more than `by` above `second`; judged by the 95% interval of their difference.

    paired  whether both are readings of the same network, or of two that trained alike until then, so that seeds are
            paired; otherwise they are not, and the interval is Welch's
    """

    text: str
    first: Cell
    second: Cell
    by: float = 0.0
    paired: bool = False


@dataclass(frozen=True)
class Near:
    """Claims that `first` and `second` differ by less than `within`; judged as `Exceeds` is."""

    text: str
    first: Cell
    second: Cell
    within: float
    paired: bool = False

    def __post_init__(self) -> None:
        if not self.within > 0:
            raise InputError(f"within: got {self.within}, expected a positive difference")


@dataclass(frozen=True)
class AtMost:
    """Claims that `first` is at most `limit`, which is a cell or a number, in every single run."""

    text: str
    first: Cell
    limit: Cell | float


Claim = Exceeds | Near | AtMost


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the paper reports: its own table, of other data and another network.

    where    the paper's place, data and network
    numbers  setting -> measure -> number; a number that is not known is left out
    """

    where: str
    numbers: Mapping[str, Mapping[str, float]]


def _no_claims(scale: Scale) -> tuple[Claim, ...]:
    del scale
    return ()


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A small experiment that shows one effect, and says whether it did.

    name       "work.place", as in "rethinking.figure5"
    title      what is varied
    source     paper and section
    claim      what the paper says, in one plain sentence
    run        the numbers of one seed
    claims     what must hold of the table for the claim to hold, by scale
    unit       of all measures that are drawn
    decimals   of a number in the table
    axis       what the settings are, if they are ordered ("epoch"): drawn as lines; else as dots
    drawn      the measures that are drawn; None: all
    published  the paper's numbers
    remark     what differs here from the paper, and what does not show
    paper      what the scale "paper" runs and needs; empty: there is none, see `absent`
    absent     why there is no scale "paper", and what it would need
    """

    name: str
    title: str
    source: str
    claim: str
    run: Callable[[Job], Rows]
    claims: Callable[[Scale], Sequence[Claim]] = _no_claims
    unit: str = "error, %"
    decimals: int = 1
    axis: str | None = None
    drawn: tuple[str, ...] | None = None
    published: Published | None = None
    remark: str = ""
    paper: str = ""
    absent: str = ""

    def __post_init__(self) -> None:
        if bool(self.paper) == bool(self.absent):
            raise InputError(f"{self.name}: say either what the scale paper needs, or why there is none")

    def check(self, scale: Scale, data: str | None) -> None:
        """Raise `InputError` if the experiment cannot run so."""
        if scale is Scale.PAPER and self.absent:
            raise InputError(f"{self.name} has no scale 'paper': {self.absent}")
        if scale is Scale.PAPER and data is None:
            raise InputError(f"{self.name} at scale 'paper' needs --data, as cifar10:DIR; {self.paper}")
        if scale is not Scale.PAPER and data is not None:
            raise InputError(f"{self.name} brings its own data at scale {scale.value!r}; drop --data, or use paper")
