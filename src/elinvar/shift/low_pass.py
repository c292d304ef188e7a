"""Images without their high frequencies, and how well a classifier does on them.

    keep the part of the spectrum with |k_y| <= B / 2 and |k_x| <= B / 2,    B: bandwidth

The band is symmetric, so the result is real: along each axis it is a product with a symmetric projection matrix,
P_ab = 1/n sum_{|k| <= B/2} cos(2 pi k (a - b) / n).

Source   Yin et al., "A Fourier perspective on model robustness in computer vision", NeurIPS 2019; Merchant et al.,
         "Does data augmentation benefit from split BatchNorms", 2020, section 6.3.
Differs  the papers are silent about even B, where a window of B frequencies cannot be symmetric; B = 2m keeps what
         B = 2m + 1 does.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Integer, Shaped
from torch import Tensor, nn

from ..check import InputError, check_images
from .fourier_predict import Predict, Progress, at_a_time, predicting, prepared, wrong


def low_pass(images: Shaped[Tensor, "n c h w"], bandwidth: int, *, clip: bool = False) -> Shaped[Tensor, "n c h w"]:
    """Images without frequencies above half the bandwidth, each channel for itself, of the same shape and dtype.

    images      uint8, or floating point of any range
    bandwidth   1 leaves the mean of each channel; the longer side of the images or more leaves them as they are
    clip        clip floating point results to [0, 1]; that brings some high frequencies back, so the papers do not.
                uint8 results are rounded and clipped in any case

    Raises `InputError` for a bandwidth below 1, and for what is no batch of images.

    >>> low_pass(torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]), 1)
    tensor([[[[0.5000, 0.5000],
              [0.5000, 0.5000]]]])
    """
    if isinstance(bandwidth, bool) or not isinstance(bandwidth, int) or bandwidth < 1:
        raise InputError(f"bandwidth: got {bandwidth!r}, expected an integer of at least 1")
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        check_images(images)
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    for axis, side in ((2, images.shape[2]), (3, images.shape[3])):
        if side > bandwidth:
            projection = _projection(side, bandwidth).to(wide)
            wide = wide @ projection if axis == 3 else projection @ wide
    if images.dtype == torch.uint8:
        return wide.round().clamp(0, 255).to(torch.uint8)
    return (wide.clamp(0, 1) if clip else wide).to(images.dtype)


def _projection(side: int, bandwidth: int) -> Float64[Tensor, "side side"]:
    """The projection on |k| <= bandwidth / 2 along an axis; `bandwidth` < `side`, so each k > 0 has its mirror."""
    k, steps = torch.arange(1, bandwidth // 2 + 1), torch.arange(side)
    turns = (k.unsqueeze(1) * steps % side).double() * (2 * math.pi / side)
    row = (1 + 2 * turns.cos().sum(0)) / side
    return row[(steps.unsqueeze(1) - steps) % side]


@dataclass(frozen=True)
class LowPassCurve:
    """Accuracy by bandwidth.

    bandwidths  ascending
    accuracy    share of images that are classified rightly, 0 to 1
    images      how many there were
    """

    bandwidths: tuple[int, ...]
    accuracy: tuple[float, ...]
    images: int

    def reaches(self, share: float = 0.95) -> int:
        """The smallest bandwidth from which on accuracy stays at or above `share` of that at the largest one."""
        need = share * self.accuracy[-1]
        below = [place for place, accuracy in enumerate(self.accuracy) if accuracy < need]
        return self.bandwidths[below[-1] + 1 if below else 0]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"bandwidths": list(self.bandwidths), "accuracy": list(self.accuracy), "images": self.images}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "LowPassCurve":
        """What `to_dict` wrote."""
        return cls(tuple(plain["bandwidths"]), tuple(plain["accuracy"]), plain["images"])


def low_pass_curve(
    predict: Predict | nn.Module,
    images: Shaped[Tensor, "n c h w"],
    targets: Integer[Tensor, " n"],
    *,
    bandwidths: Iterable[int] | None = None,
    clip: bool = False,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> LowPassCurve:
    """Accuracy of a classifier on images of growing bandwidth: one forward for each image and bandwidth.

    predict, images, targets, batch_size, device, progress   as in `fourier_heatmap`
    bandwidths   None: all odd ones up to the longer side (even ones do as the next odd one), and the whole image
    clip         as in `low_pass`

    Raises `InputError` as `fourier_heatmap` does, and for no bandwidths.
    """
    clean, labels = prepared(predict, images, targets, device)
    batch = at_a_time(batch_size, clean)
    longest = max(clean.shape[2:])
    chosen = sorted(set(bandwidths if bandwidths is not None else (*range(1, longest, 2), longest)))
    if not chosen:
        raise InputError("bandwidths: got none, expected at least one")
    accuracy = []
    with predicting(predict) as forward:
        for done, bandwidth in enumerate(chosen, 1):
            mistaken = sum(
                wrong(forward(low_pass(part, bandwidth, clip=clip)), y).sum()
                for part, y in zip(torch.split(clean, batch), torch.split(labels, batch), strict=True)
            )
            accuracy.append(1 - int(mistaken) / len(clean))
            if progress is not None:
                progress(done, len(chosen))
    return LowPassCurve(tuple(chosen), tuple(accuracy), len(clean))
