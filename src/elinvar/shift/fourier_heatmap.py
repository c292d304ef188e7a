"""Which spatial frequencies does a classifier depend on? Its error under each Fourier basis image of one norm.

    x' = clip(x + r v U_k, 0, 1),    error(k) = share of x' that is misclassified

v is the l2 norm of what is added to each channel, and r = +-1 a random sign of each image and channel, the same for
all frequencies. At v = 4 and 32 x 32 pixels in [0, 1] a pixel changes by 0.125 on average (root of the mean square).

Source   Yin et al., "A Fourier perspective on model robustness in computer vision", NeurIPS 2019.
Differs  pixels are clipped (see `clip`); mirrored frequencies share one image, so each pair is predicted once.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64, Integer, Shaped
from torch import Tensor, nn

from ..check import InputError
from ..rng import bits, fold, streams
from .corrupt import example_streams
from .fourier import Phase, fourier_images
from .fourier_predict import Predict, Progress, at_a_time, predicting, prepared, wrong

LOW, MID = 3 / 16, 10 / 16  # of the highest frequency: |k| up to 3 and up to 10 of 16


@dataclass(frozen=True)
class FourierHeatmap:
    """Error by frequency, DC in the centre.

    error     share of misclassified images, 0 to 1: (rows, columns) for the frequencies `vertical` x `horizontal`
    norm      l2 norm of what was added to each channel of images in [0, 1]
    clip      whether pixels were clipped to [0, 1]
    images    how many images each error is of
    size      their height and width
    """

    error: Float64[Tensor, "rows columns"]
    norm: float
    clip: bool
    images: int
    size: tuple[int, int]

    @property
    def vertical(self) -> Int64[Tensor, " rows"]:
        """k_y of the rows, in periods per image."""
        return torch.arange(self.error.shape[0]) - self.error.shape[0] // 2

    @property
    def horizontal(self) -> Int64[Tensor, " columns"]:
        """k_x of the columns."""
        return torch.arange(self.error.shape[1]) - self.error.shape[1] // 2

    def mean(self) -> float:
        """Mean error over all frequencies."""
        return float(self.error.mean())

    def bands(self) -> dict[str, float]:
        """Mean error over low, mid and high frequencies; max(|k_y|, |k_x|) up to 3, up to 10, above for 32 pixels.

        For other sizes the borders are at the same shares of the highest frequency. A band without frequencies is
        left out.
        """
        extent = [2 * k.abs() / side for k, side in zip((self.vertical, self.horizontal), self.size, strict=True)]
        radius = torch.maximum(extent[0].unsqueeze(1), extent[1])
        inside = {"low": radius <= LOW, "mid": (radius > LOW) & (radius <= MID), "high": radius > MID}
        return {name: float(self.error[where].mean()) for name, where in inside.items() if where.any()}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**vars(self), "error": self.error.tolist(), "size": list(self.size)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "FourierHeatmap":
        """What `to_dict` wrote."""
        error = torch.tensor(plain["error"], dtype=torch.float64)
        height, width = plain["size"]
        return cls(**{**plain, "error": error, "size": (height, width)})


def fourier_heatmap(
    predict: Predict | nn.Module,
    images: Shaped[Tensor, "n c h w"],
    targets: Integer[Tensor, " n"],
    *,
    norm: float = 4.0,
    radius: int | None = None,
    clip: bool = True,
    phase: Phase = "diagonal",
    key: int | None = None,
    keys: Int64[Tensor, " n"] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> FourierHeatmap:
    """The error of a classifier under every Fourier basis image: one forward for each image and pair of frequencies.

    predict      a module, which is evaluated in eval mode, or any function from images (n, c, h, w) in [0, 1] to
                 scores (n, classes), such as `infer.Predictor`. The images that it gets are overwritten afterwards
    images       uint8, or floating point in [0, 1]
    norm         l2 norm of the change of each channel: 4.0 for CIFAR-10, 15.7 for ImageNet; 8.0 in split BatchNorms
    radius       central frequencies only, |k_y| and |k_x| up to this (31 for ImageNet); None: the full spectrum
    key, keys    signs, as in `corrupt`; without them key 0, so that all models see the same images
    batch_size   images in a forward; None: 100 on a CPU, 500 elsewhere
    device       where images are changed and handed to `predict`; None: where the module, or the images are
    progress     called with the number of frequencies that are done, and of all

    Raises `InputError` for images or targets of a wrong kind, scores of another shape, and settings out of range.
    """
    if not norm > 0:
        raise InputError(f"norm: got {norm}, expected a positive number")
    clean, labels = prepared(predict, images, targets, device)
    height, width = clean.shape[2:]
    if norm > (height * width) ** 0.5:
        raise InputError(
            f"norm: got {norm:g}, but two channels of {height} x {width} pixels in [0, 1] differ by at most "
            f"{(height * width) ** 0.5:.4g}; divide norms of 0..255 images by 255"
        )
    if radius is not None and not 0 <= radius <= (min(height, width) - 1) // 2:
        raise InputError(f"radius: got {radius}, expected 0 to {(min(height, width) - 1) // 2}, or None for all")
    rows, columns = ((2 * radius + 1,) * 2) if radius is not None else (height, width)
    own = example_streams(len(clean), 0 if key is None and keys is None else key, keys)
    scale = _signs(own, clean.shape[1]).to(clean) * norm
    place, mirror = _pairs(rows, columns)
    frequencies = torch.stack([place // columns - rows // 2, place % columns - columns // 2], 1)
    batch = at_a_time(batch_size, clean)
    together, step = max(1, batch // len(clean)), min(len(clean), batch)
    layout = torch.contiguous_format if clean.is_contiguous() else torch.channels_last
    room = torch.empty_like(clean[:1].expand(together * step, -1, -1, -1), memory_format=layout)
    counts = []
    with predicting(predict) as forward:
        for start in range(0, len(place), together):
            waves = fourier_images(frequencies[start : start + together], (height, width), phase=phase).to(clean)
            counts.append(_mistakes(forward, clean, labels, scale, waves, room, step, clip))
            if progress is not None:
                progress(min(start + together, len(place)), len(place))
    error = torch.empty(rows * columns, dtype=torch.float64)
    error[place] = error[mirror] = torch.cat(counts).cpu().double() / len(clean)
    return FourierHeatmap(error.view(rows, columns), float(norm), clip, len(clean), (height, width))


def _signs(own: Int64[Tensor, " n"], channels: int) -> Tensor:
    """+1 or -1 for each image and channel."""
    return torch.where(bits(streams(fold("fourier"), own), channels) < 0, -1.0, 1.0)


def _pairs(rows: int, columns: int) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
    """Places of a centred map that come before their mirrors (or are their own), and the mirrors."""
    place = torch.arange(rows * columns)
    row, column = place // columns, place % columns
    mirror = (2 * (rows // 2) - row) % rows * columns + (2 * (columns // 2) - column) % columns
    return place[place <= mirror], mirror[place <= mirror]


def _mistakes(
    forward: Predict,
    clean: Float[Tensor, "n c h w"],
    labels: Int64[Tensor, " n"],
    scale: Float[Tensor, "n c"],
    waves: Float[Tensor, "m h w"],
    room: Float[Tensor, "most c h w"],
    step: int,
    clip: bool,
) -> Int64[Tensor, " m"]:
    """How many images are misclassified under each wave; `step` images at a time under all of them, made in `room`."""
    count = torch.zeros((), dtype=torch.int64)
    for first in range(0, len(clean), step):
        part = slice(first, min(first + step, len(clean)))
        batch = room[: len(waves) * (part.stop - first)]
        changed = batch.view(len(waves), part.stop - first, *batch.shape[1:])
        torch.addcmul(clean[part], scale[part, :, None, None], waves[:, None, None], out=changed)
        if clip:
            batch.clamp_(0, 1)
        mistaken = wrong(forward(batch), labels[part].repeat(len(waves))).view(len(waves), -1).sum(1)
        count = count.to(mistaken.device) + mistaken
    return count
