"""What tuning found: the whole curve, before and after."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..mixture import in_words
from .tally import Estimate

Z = 1.96
"""standard errors of the 95 % interval of a mean of many examples"""


@dataclass(frozen=True)
class Point(Estimate):
    """A candidate and its mean loss; see `Estimate` for the numbers.

    alpha    weight of an example's own statistics; None: the model's own rule, which is no single weight
    weights  share of each branch in the prediction: for `norm.Mixture` if it is more than one
    beside   means of the losses that were asked for besides
    """

    alpha: float | None
    weights: dict[str, float]
    beside: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        alpha = "the model's own rule" if self.alpha is None else f"alpha {self.alpha:.4g}"
        return f"{alpha}, {in_words(self.weights)}" if len(self.weights) > 1 else alpha


@dataclass(frozen=True)
class Tuned:
    """The result of `norm.tune`.

    metric       name of the loss
    examples     how many were seen
    curve        every candidate, by mix, then by alpha from neutral on
    before       the model as it came
    best         the candidate that was chosen
    computed     alphas whose logits were computed for every example; those of others were interpolated from them
    evaluations  what it cost, in forwards of one branch over all examples
    """

    metric: str
    examples: int
    curve: tuple[Point, ...]
    before: Point
    best: Point
    computed: tuple[float | None, ...]
    evaluations: float
    _give: Callable[[float], None] = field(repr=False, compare=False)

    @property
    def supported(self) -> bool:
        """Whether the 95 % interval of the gain of `best` lies above 0: gain > 1.96 gain_error.

        The best of many is chosen by the same examples, so the gain on other ones is smaller on average.
        """
        return self.best.gain > Z * self.best.gain_error

    def apply(self, *, anyway: bool = False) -> None:
        """Give the model the alpha that was found: its layers get `ExampleWeighted` inference, or `Remembered` for 0.

        Where its gain is not `supported`, the model stays as it is, unless `anyway`. BatchNorm layers of torch become
        `Norm`, as by `norm.convert`; unless nothing changes. A mix is not the layers' business: wrap the model in
        `norm.Mixture(model, tuned.best.weights)`.
        """
        if self.best.alpha is not None and self.best.alpha != self.before.alpha and (anyway or self.supported):
            self._give(self.best.alpha)

    def __str__(self) -> str:
        best = self.best
        return (
            f"{self.metric} {self.before.value:.4g} ({self.before}) -> {best.value:.4g} ({best}), "
            f"gain {best.gain:.2g} ± {best.gain_error:.1g} (standard error, n={self.examples})"
            f"{'' if self.supported or best is self.before else ', which its 95 % interval does not support'}; "
            f"{len(self.curve)} candidates at the cost of {self.evaluations:.3g} evaluations"
        )
