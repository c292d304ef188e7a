"""Which frequencies a model is sensitive to, and which it needs: a Fourier heatmap and a low-pass curve."""

from collections.abc import Callable

import torch
from torch import Tensor

from .. import shift
from ..data import Split, stratified_order
from ..outputs import undecided
from ..rng import fold
from .evaluation import Spectrum
from .predict import Predictor

IMAGES = 1000
SMALL = 64  # up to this side: the whole spectrum at the norm of CIFAR-10; above: 63 x 63 frequencies as for ImageNet
NORM, NORM_LARGE, RADIUS_LARGE = 4.0, 15.7, 31

Progress = Callable[[str, int, int], object]


def settings(split: Split) -> tuple[float, int | None]:
    """Norm of the change and radius of the map, for images of this size."""
    return (NORM_LARGE, RADIUS_LARGE) if max(split.shape[1:]) > SMALL else (NORM, None)


def places(split: Split) -> Tensor:
    """The `IMAGES` test images that are looked at: classes in proportion, the same ones for every model."""
    return stratified_order(split.targets, fold("fourier"))[:IMAGES].sort().values


def measured(predictor: Predictor, split: Split, batch_size: int, progress: Progress) -> dict[str, Tensor]:
    """Error by frequency, and accuracy by bandwidth; `lost`: of how many logits no class follows, and how many came."""
    chosen = places(split)
    batch = next(iter(split.batches(chosen, len(chosen))))

    lost = torch.zeros(2, dtype=torch.int64)

    def predict(images: Tensor) -> Tensor:
        logits = predictor(images, batch_size=len(images))
        lost.add_(torch.tensor([int(undecided(logits).sum()), len(logits)]))
        return logits

    (norm, radius), device = settings(split), predictor.compute.device
    heatmap = shift.fourier_heatmap(
        predict, batch.images, batch.targets, norm=norm, radius=radius,
        batch_size=batch_size, device=device, progress=lambda done, of: progress("heatmap", done, of),
    )  # fmt: skip
    curve = shift.low_pass_curve(
        predict, batch.images, batch.targets, batch_size=batch_size, device=device,
        progress=lambda done, of: progress("low-pass", done, of),
    )  # fmt: skip
    return {
        "error": heatmap.error,
        "bandwidths": torch.tensor(curve.bandwidths),
        "accuracy": torch.tensor(curve.accuracy, dtype=torch.float64),
        "lost": lost,
    }


def spectrum(found: dict[str, Tensor], split: Split) -> Spectrum:
    """What is reported about `measured`."""
    _, height, width = split.shape
    n, (norm, _) = min(IMAGES, len(split)), settings(split)
    heatmap = shift.FourierHeatmap(found["error"], norm, True, n, (height, width))
    curve = shift.LowPassCurve(tuple(found["bandwidths"].tolist()), tuple(found["accuracy"].tolist()), n)
    return Spectrum(
        subset=f"{n:,} of {len(split):,} test images, l2 norm {norm:g} in each channel",
        heatmap=heatmap.to_dict(),
        mean=100 * heatmap.mean(),
        bands={name: 100 * error for name, error in heatmap.bands().items()},
        low_pass=curve.to_dict(),
        needed_bandwidth=curve.reaches(),
    )
