"""Keep what calibration needs of every prediction, by name, so that bins can be cut after all of them are seen."""

from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Int64
from torch import Tensor

from ..check import InputError, unknown
from .accumulator import Accumulator
from .calibration import rms_calibration_error
from .confidence import Probabilities, Targets, TopLabel, top_label


class Confidences(Accumulator):
    """Confidence and correctness of every prediction, in named parts: "clean", "fog/3", ...

    measure   what `compute` reports: any function of (confidences, booleans), such as `rms_calibration_error`

    Bins of equal size cannot be filled on the fly, and the mean of the errors of several shards is not the error of
    all of them; so this keeps 5 bytes for each prediction, 13 with an index.
    """

    state = ("_parts",)

    def __init__(self, measure: Callable[[Tensor, Tensor], float] = rms_calibration_error) -> None:
        super().__init__()
        self.measure = measure

    def reset(self) -> None:
        self._parts: dict[str, list[tuple[TopLabel, Tensor | None]]] = {}

    def update(
        self,
        probabilities: Probabilities,
        targets: Targets,
        *,
        name: str = "all",
        index: Int64[Tensor, " n"] | None = None,
    ) -> None:
        """Add predictions to the part `name`.

        index   place of each example in its data set. With it, a part is kept in that order and an example that
                comes twice (samplers pad their last shard) counts once: the result is that of an unsharded pass
        """
        top = top_label(probabilities, targets)
        if index is not None and index.shape != top.confidence.shape:
            raise InputError(f"index: got shape {tuple(index.shape)}, expected one for each of {len(top.correct)} rows")
        pieces = self._parts.setdefault(name, [])
        if pieces and (pieces[0][1] is None) != (index is None):
            raise InputError(f"part {name!r}: give an index with every update, or with none")
        pieces.append((top, None if index is None else index.cpu()))

    def merge(self, other: "Confidences") -> None:
        for name, pieces in other._parts.items():
            for top, index in pieces:
                self.update(*top, name=name, index=index)

    def names(self) -> tuple[str, ...]:
        """The parts, in the order in which they were first seen."""
        return tuple(self._parts)

    def pooled(self, names: Iterable[str] | None = None) -> TopLabel:
        """Predictions of the named parts, one part after the other; of all parts by default.

        Raises `InputError` for a part that was never updated, and when there is none at all.
        """
        parts = [self._part(name) for name in (self.names() if names is None else names)]
        if not parts:
            raise InputError("no predictions were collected; call update first")
        return TopLabel(torch.cat([part.confidence for part in parts]), torch.cat([part.correct for part in parts]))

    def compute(self, pools: Mapping[str, Iterable[str]] | None = None) -> dict[str, float]:
        """`value` of what all processes have seen."""
        return self.gathered().value(pools)

    def value(self, pools: Mapping[str, Iterable[str]] | None = None) -> dict[str, float]:
        """`measure` of each part; or of each pool, a name and the parts that are taken together under it.

        >>> seen = Confidences()
        >>> seen.update(torch.full((4,), 0.75), torch.tensor([True, True, True, False]), name="fog/1")
        >>> seen.update(torch.full((4,), 0.75), torch.tensor([True, True, True, True]), name="fog/2")
        >>> seen.compute({"fog": ["fog/1", "fog/2"]})
        {'fog': 0.125}
        """
        chosen = {name: [name] for name in self.names()} if pools is None else pools
        if not chosen:
            raise InputError("no predictions were collected; call update first")
        return {name: self.measure(*self.pooled(parts)) for name, parts in chosen.items()}

    def _part(self, name: str) -> TopLabel:
        if name not in self._parts:
            raise unknown("part of the predictions", name, self._parts)
        pieces = self._parts[name]
        confidence = torch.cat([top.confidence for top, _ in pieces])
        correct = torch.cat([top.correct for top, _ in pieces])
        indices = [index for _, index in pieces if index is not None]
        if not indices:
            return TopLabel(confidence, correct)
        index, order = torch.cat(indices).sort(stable=True)
        first = torch.ones(len(index), dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        return TopLabel(confidence[order[first]], correct[order[first]])


class CalibrationError(Accumulator):
    """One calibration error of everything seen: `measure` as in `Confidences`, which keeps the predictions.

    >>> seen = CalibrationError()
    >>> seen.update(torch.full((4,), 0.75), torch.tensor([True, True, True, True]))
    >>> seen.compute()
    0.25
    """

    state = ("kept",)

    def __init__(self, measure: Callable[[Tensor, Tensor], float] = rms_calibration_error) -> None:
        super().__init__()
        self.measure = measure

    def reset(self) -> None:
        self.kept = Confidences()

    def update(
        self, probabilities: Probabilities, targets: Targets, *, index: Int64[Tensor, " n"] | None = None
    ) -> None:
        """Add predictions; `index` as in `Confidences.update`."""
        self.kept.update(probabilities, targets, index=index)

    def merge(self, other: "CalibrationError") -> None:
        self.kept.merge(other.kept)

    def value(self) -> float:
        return self.measure(*self.kept.pooled())
