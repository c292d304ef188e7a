"""The mean loss of every candidate, from losses that were computed and losses that were interpolated."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

Losses = Float64[Tensor, "mixes n"]


@dataclass(frozen=True)
class Estimate:
    """A mean over examples.

    value           the mean
    standard_error  of `value`, the examples taken as draws from a population
    approximation   standard error of `value` by what was interpolated; 0 if nothing was
    gain            how much lower `value` is than that of the model as it came
    gain_error      standard error of `gain`, example by example, with the approximation
    """

    value: float
    standard_error: float
    approximation: float
    gain: float
    gain_error: float


class Tally:
    """Sums over examples of the losses of each candidate alpha and mix, and of their differences from a base.

    Some losses are exact, others interpolated ("clear"). Of the clear ones a random sample is computed as well; the
    mean difference corrects the others: double sampling with a difference estimator (Cochran, Sampling Techniques,
    1977, chapter 12), unbiased whatever the interpolation is worth.

    jumps   whether a loss may jump, as the error does. A sample in which none did is no proof: candidates that are
            alike in this are then taken together, and one jump over the whole range of losses is added to what was seen
    """

    def __init__(self, alphas: int, mixes: int, *, jumps: bool) -> None:
        shape = alphas, mixes
        self.sums, self.squares, self.moves, self.move_squares, self.offs, self.off_squares = (
            torch.zeros(shape, dtype=torch.float64) for _ in range(6)
        )
        self.count, self.clear, self.sampled = (torch.zeros(alphas, dtype=torch.int64) for _ in range(3))
        self.alike = torch.zeros(shape, dtype=torch.bool)
        self.jumps, self.low, self.high = jumps, torch.inf, -torch.inf

    def add(self, alpha: int, losses: Losses, base: Float64[Tensor, " n"], *, clear: bool = False) -> None:
        """Take in losses, and those of the base for the same examples."""
        if not losses.numel():
            return
        moves = losses - base
        self.sums[alpha] += losses.sum(1)
        self.squares[alpha] += losses.square().sum(1)
        self.moves[alpha] += moves.sum(1)
        self.move_squares[alpha] += moves.square().sum(1)
        self.count[alpha] += losses.shape[1]
        self.clear[alpha] += losses.shape[1] if clear else 0
        self.low, self.high = min(self.low, float(losses.min())), max(self.high, float(losses.max()))

    def sample(self, alpha: int, off: Losses) -> None:
        """Take in by how much clear losses are above what was interpolated."""
        self.offs[alpha] += off.sum(1)
        self.off_squares[alpha] += off.square().sum(1)
        self.sampled[alpha] += off.shape[1]

    def estimate(self, alpha: int, mix: int) -> Estimate:
        """What is known about a candidate."""
        count, clear, sampled = (int(of[alpha]) for of in (self.count, self.clear, self.sampled))
        mean, spread = _moments(count, self.sums[alpha, mix], self.squares[alpha, mix])
        move, move_spread = _moments(count, self.moves[alpha, mix], self.move_squares[alpha, mix])
        off, off_spread = _moments(sampled, self.offs[alpha, mix], self.off_squares[alpha, mix])
        share = clear / count
        if not clear or sampled == clear:
            error = 0.0
        elif sampled > 3:  # the spread of so few is itself uncertain: Student's t has this standard deviation
            off_spread = max(off_spread, self._jumping(alpha, mix))
            error = share * off_spread * math.sqrt((1 / sampled - 1 / clear) * (sampled - 1) / (sampled - 3))
        else:
            error = share * spread
        return Estimate(
            value=mean + share * off,
            standard_error=spread / math.sqrt(count),
            approximation=error,
            gain=-(move + share * off),
            gain_error=math.hypot(move_spread / math.sqrt(count), error),
        )

    def _jumping(self, alpha: int, mix: int) -> float:
        """Root mean square of what is off, with one jump more than were seen."""
        if not self.jumps:
            return 0.0
        rows = self.alike[:, mix] | (torch.arange(len(self.alike)) == alpha)
        seen = float(self.off_squares[rows, mix].sum()) + (self.high - self.low) ** 2
        return math.sqrt(seen / (int(self.sampled[rows].sum()) + 1))


def _moments(count: int, total: Tensor, squares: Tensor) -> tuple[float, float]:
    """Mean and sample standard deviation."""
    if not count:
        return 0.0, 0.0
    mean = float(total) / count
    return mean, math.sqrt(max(float(squares) - count * mean * mean, 0.0) / max(count - 1, 1))
