"""Do predictions stay, from frame to frame of a sequence in which one nuisance changes a little?

    flip probability   mean over videos of mean_j [z_j != z_r(j)]        z: predicted classes of the frames
    top-5 distance     mean over videos of mean_j sum_{i=1..5} |min(i - 1, 5) - min(sigma_j(i) - 1, 5)|
                       sigma_j(i): rank in frame j of the class that has rank i in frame r(j)

r(j) = j - difficulty; in noise sequences r(j) = 0, the clean image, because there neighbours differ by two noises.
Labels play no part. Of equal scores the class with the smaller number is the larger one, in every frame.

Source   Hendrycks and Dietterich, "Benchmarking neural network robustness", ICLR 2019, sections 4 and 5;
         hendrycks/robustness, ImageNet-P/test.py.
"""

import torch
from jaxtyping import Float, Float64, Int64, Integer
from torch import Tensor

from ..check import InputError
from .accumulator import Average

TOP = 5

Frames = Integer[Tensor, "videos frames"] | Float[Tensor, "videos frames classes"] | Integer[Tensor, " frames"]


def flips(predictions: Frames, *, noise: bool = False, difficulty: int = 1) -> Float64[Tensor, " videos"]:
    """Share of frames of each video whose class is another than that of the frame it is compared with, 0 to 1."""
    if predictions.ndim == 3:
        classes = _checked_scores(predictions).argmax(2)
    elif predictions.ndim in (1, 2) and not predictions.is_floating_point():
        classes = predictions.view(-1, predictions.shape[-1])
    else:
        raise InputError(
            f"got predictions of shape {tuple(predictions.shape)} ({predictions.dtype}), expected classes (videos, "
            "frames) as integers, or scores (videos, frames, classes)"
        )
    before, after = _pairs(classes, noise, difficulty)
    return (before != after).double().mean(1)


def flip_probability(predictions: Frames, *, noise: bool = False, difficulty: int = 1) -> float:
    """Mean over videos of `flips`, 0 to 1.

    predictions   classes of the frames as integers, (videos, frames) or (frames,), or scores (videos, frames, classes)
    noise         a noise sequence: every frame is compared with the first one, the clean image
    difficulty    else each frame is compared with the one that many frames earlier

    Raises `InputError` for other shapes, for no videos, for too few frames, and for scores that are not finite.

    >>> flip_probability(torch.tensor([[0, 0, 1, 1]])), flip_probability(torch.tensor([[0, 0, 1, 1]]), noise=True)
    (0.3333333333333333, 0.6666666666666666)
    """
    return float(flips(predictions, noise=noise, difficulty=difficulty).mean())


def top5_distances(
    scores: Float[Tensor, "videos frames classes"], *, noise: bool = False, difficulty: int = 1
) -> Float64[Tensor, " videos"]:
    """How far the five best classes of each video move from frame to frame: 0 to 15, where all five leave the top."""
    best = _best(_checked_scores(scores))
    before, after = _pairs(best, noise, difficulty)
    same = before.unsqueeze(3) == after.unsqueeze(2)
    place = torch.where(same.any(3), same.int().argmax(3), TOP)
    rank = torch.arange(before.shape[2], device=place.device)
    return (place - rank).abs().sum(2).double().mean(1)


def top5_distance(scores: Float[Tensor, "videos frames classes"], *, noise: bool = False, difficulty: int = 1) -> float:
    """Mean over videos of `top5_distances`, unnormalized (uT5D), 0 to 15. Settings as in `flip_probability`.

    Of equal scores the class with the smaller number ranks first.

    >>> top5_distance(torch.tensor([[[6.0, 5, 4, 3, 2, 1], [5, 6, 4, 3, 2, 1]]]))
    2.0
    """
    return float(top5_distances(scores, noise=noise, difficulty=difficulty).mean())


class FlipProbability(Average):
    """`flip_probability` of all pieces together; a piece is some whole videos."""

    def __init__(self, *, noise: bool = False, difficulty: int = 1) -> None:
        super().__init__()
        self.noise, self.difficulty = noise, difficulty

    def update(self, predictions: Frames) -> None:
        self.take(flips(predictions, noise=self.noise, difficulty=self.difficulty))


class Top5Distance(Average):
    """`top5_distance` of all pieces together; a piece is some whole videos."""

    def __init__(self, *, noise: bool = False, difficulty: int = 1) -> None:
        super().__init__()
        self.noise, self.difficulty = noise, difficulty

    def update(self, scores: Float[Tensor, "videos frames classes"]) -> None:
        self.take(top5_distances(scores, noise=self.noise, difficulty=self.difficulty))


def _checked_scores(scores: Tensor) -> Tensor:
    if scores.ndim != 3 or not scores.is_floating_point() or not scores.numel():
        raise InputError(
            f"got scores of shape {tuple(scores.shape)} ({scores.dtype}), expected floating point (videos, frames, "
            "classes), at least one of each"
        )
    if not scores.isfinite().all():
        bad = int((~scores.isfinite()).any(2).sum())
        raise InputError(
            f"scores: got NaN or infinite values in {bad} of {scores.shape[0] * scores.shape[1]} frames, which have no "
            "rank; expected finite logits"
        )
    return scores.detach()


def _pairs(frames: Tensor, noise: bool, difficulty: int) -> tuple[Tensor, Tensor]:
    """The frames that are compared, earlier and later, along axis 1."""
    if difficulty < 1 or (noise and difficulty != 1):
        raise InputError(
            f"difficulty: got {difficulty}, expected at least 1, and 1 for noise (there it is another set of images)"
        )
    if not len(frames) or frames.shape[1] <= difficulty:
        raise InputError(
            f"got {len(frames)} videos of {frames.shape[1]} frames, expected at least one of {difficulty + 1} or more"
        )
    return (frames[:, :1] if noise else frames[:, :-difficulty]), frames[:, 1 if noise else difficulty :]


def _best(scores: Float[Tensor, "videos frames classes"]) -> Int64[Tensor, "videos frames best"]:
    """The classes of the (up to) five largest scores in order; of equal ones the first."""
    left, found = scores.clone(), []
    for _ in range(min(TOP, scores.shape[2])):
        best = left.argmax(2, keepdim=True)
        left.scatter_(2, best, -torch.inf)
        found.append(best)
    return torch.cat(found, 2)
