"""Error under every corruption and severity, counted in pieces, and their mean at the end."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from ..check import InputError, unknown
from .accumulator import Accumulator
from .corruption import SUBSETS, MeanCorruptionError, mean_corruption_error
from .error import mistakes

SEVERITIES = (1, 2, 3, 4, 5)


class CorruptionErrors(Accumulator):
    """`mean_corruption_error` of predictions that come in pieces, each under one corruption at one severity.

    normalizers, subset   as there
    """

    state = ("counts",)

    def __init__(self, *, normalizers: Mapping[str, Sequence[float]] | None = None, subset: str = "benchmark") -> None:
        super().__init__()
        self.normalizers, self.subset = normalizers, subset

    def reset(self) -> None:
        self.counts: dict[tuple[str, int], tuple[int, int]] = {}

    def update(
        self,
        predictions: Float[Tensor, "n classes"] | Integer[Tensor, " n"],
        targets: Integer[Tensor, " n"],
        *,
        corruption: str,
        severity: int,
    ) -> None:
        """Add predictions of images under `corruption` at `severity`, 1 to 5."""
        if corruption not in SUBSETS["all"]:
            raise unknown("corruption", corruption, SUBSETS["all"])
        if severity not in SEVERITIES:
            raise InputError(f"severity: got {severity!r}, expected an integer from 1 to 5")
        wrong = mistakes(predictions, targets)
        self._add((corruption, severity), int(torch.count_nonzero(wrong)), len(wrong))

    def merge(self, other: "CorruptionErrors") -> None:
        for kind, (wrong, seen) in other.counts.items():
            self._add(kind, wrong, seen)

    def errors(self) -> dict[str, list[float]]:
        """corruption -> errors at severities 1 to 5, as fractions. Raises `InputError` naming severities not seen."""
        if not any(seen for _, seen in self.counts.values()):
            raise InputError("no predictions were collected; call update first")
        names = dict.fromkeys(name for name, _ in self.counts)
        pairs = [(name, severity) for name in names for severity in SEVERITIES]
        if missing := [f"{pair[0]} {pair[1]}" for pair in pairs if not self.counts.get(pair, (0, 0))[1]]:
            raise InputError(f"no predictions of {', '.join(missing)}; all five severities of a corruption are needed")
        return {name: [self._error(name, severity) for severity in SEVERITIES] for name in names}

    def value(self) -> MeanCorruptionError:
        return mean_corruption_error(self.errors(), normalizers=self.normalizers, subset=self.subset)

    def forward(self, *args: object, **kwargs: object) -> float:
        """Take in one piece, and return its error: the mean needs all corruptions."""
        piece = self._empty()
        piece.update(*args, **kwargs)  # type: ignore[arg-type]
        self.merge(piece)
        (((name, severity), (_, seen)),) = piece.counts.items()
        return piece._error(name, severity) if seen else float("nan")

    __call__ = forward

    def _error(self, name: str, severity: int) -> float:
        wrong, seen = self.counts[name, severity]
        return wrong / seen

    def _add(self, kind: tuple[str, int], wrong: int, seen: int) -> None:
        before = self.counts.get(kind, (0, 0))
        self.counts[kind] = (before[0] + wrong, before[1] + seen)
