"""The perturbations by name: short videos in which one nuisance changes a little from frame to frame.

A perturbation says how many frames it has and what is done to the clean image in frame i; the operations are those of
the corruptions, set frame by frame, and maps of the plane. Stability is measured between frames, never accuracy.

    gaussian_noise, shot_noise, speckle_noise   frame 0 is clean, every other frame has fresh noise; all frames are
                                                compared with frame 0. Three difficulties
    motion_blur      the direction turns             zoom_blur     mean of ever more enlarged copies; frame 0 is clean
    snow             one fall of flakes, whose direction turns     brightness    V of HSV rises
    translate        to the right, pixel by pixel    rotate, tilt, scale, shear  about the centre
    gaussian_blur    sigma grows                     spatter       drops of one splash run down

Source  Hendrycks and Dietterich, ICLR 2019, section 3.2; hendrycks/robustness, ImageNet-P/create_p, make_cifar_p.py
        and make_imagenet_p.py (the constants of 32 and of 224 pixels).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from . import warp
from .borders import replicated
from .frame import Frame
from .sampling import gaussian_taps
from .severity import CIFAR_LARGEST_SIDE
from .spatter import Fall, plan_spatter
from .table import KNOWN, Group, Operation

Step = tuple[Operation, tuple[Any, ...]]
WARP = Operation("warp", Group.DIGITAL, False, warp.warp)
FALL_CIFAR: Fall = ((0.2, 0.8), 0)
FALL_IMAGENET: Fall = ((0.05, 0.1, 0.15, 0.7), 1)


@dataclass(frozen=True)
class Scene:
    """The images at hand, and how difficult noise is to be (1 to 3)."""

    frame: Frame
    large: bool
    difficulty: int


def is_large(height: int, width: int) -> bool:
    """Whether the constants of ImageNet-P count: images of more than 64 pixels."""
    return max(height, width) > CIFAR_LARGEST_SIDE


@dataclass(frozen=True)
class Perturbation:
    """One perturbation.

    step       (frame number, scene) -> operation and plan that make the frame of the clean image
    counts     frames of a sequence for small and for large images
    clean      frame 0 is the clean image
    noise      frames are compared with frame 0, not with the one before; there are three difficulties
    geometric  the plane moves: on ImageNet before the centre is cut out
    running    a frame is the mean of all steps up to it
    """

    name: str
    step: Callable[[int, Scene], Step]
    counts: tuple[int, int] = (31, 31)
    clean: bool = False
    noise: bool = False
    geometric: bool = False
    running: bool = False

    def length(self, height: int, width: int) -> int:
        """Frames of a sequence of images of this size."""
        return self.counts[is_large(height, width)]


def _planned(name: str, level: tuple[float, ...], scene: Scene, *more: Any) -> Step:
    corruption = KNOWN[name]
    return corruption, corruption.plan(level, scene.frame, *more)


def _noise(name: str, small: tuple[float, ...], large: tuple[float, ...]) -> Perturbation:
    def step(i: int, scene: Scene) -> Step:
        return _planned(name, ((large if scene.large else small)[scene.difficulty - 1],), scene)

    return Perturbation(name, step, clean=True, noise=True)


def _motion_blur(i: int, scene: Scene) -> Step:
    level, degrees = ((10, 3), 4 * (i - 30)) if scene.large else ((6, 1.8), 9 * (i - 20))
    return _planned("motion_blur", level, scene, float(degrees), 0.0)


def _snow(i: int, scene: Scene) -> Step:
    zoom, radius, sigma = (3, 14, 4) if scene.large else (2, 10, 2)
    return _planned("snow", (0.05, 0.3, zoom, 0.5, radius, sigma, 0.85), scene, float(4 * i - 150), 0.0)


def _brightness(i: int, scene: Scene) -> Step:
    return _planned("brightness", ((0.02 if scene.large else 0.015) * (i - 15),), scene)


def _gaussian_blur(i: int, scene: Scene) -> Step:
    sigma, cut = (0.25 + 0.035 * i, 6.0) if scene.large else (0.3 + 0.015 * i, 7.0)
    taps, frame = gaussian_taps(sigma, cut), scene.frame
    return KNOWN["gaussian_blur"], (taps, *(replicated(side, len(taps) - 1) for side in (frame.height, frame.width)))


def _spatter(i: int, scene: Scene) -> Step:
    level = (0.65, 0.27, 3.7, 0.69, 0.6, 0) if scene.large else (0.6, 0.265, 1.75, 0.7, 0.6, 0)
    return KNOWN["spatter"], plan_spatter(level, scene.frame, FALL_IMAGENET if scene.large else FALL_CIFAR, i)


def _map(
    name: str,
    places: Callable[[int, int, float], warp.Places],
    amount: Callable[[int, bool], float],
    counts: tuple[int, int] = (31, 31),
    *,
    running: bool = False,
) -> Perturbation:
    def step(i: int, scene: Scene) -> Step:
        found = places(scene.frame.height, scene.frame.width, amount(i, scene.large))
        return WARP, (found.corners, found.between)

    return Perturbation(name, step, counts, clean=running, geometric=True, running=running)


_ROWS = (
    _noise("gaussian_noise", (0.02, 0.04, 0.06), (0.03, 0.05, 0.08)),
    _noise("shot_noise", (700, 400, 200), (300, 120, 60)),
    Perturbation("motion_blur", _motion_blur, (21, 31)),
    _map("zoom_blur", warp.scaled, lambda i, large: 1 + 0.004 * i, running=True),
    Perturbation("snow", _snow),
    Perturbation("brightness", _brightness),
    _map("translate", warp.moved, lambda i, large: i - (20 if large else 7), (16, 41)),
    _map("rotate", warp.rotated, lambda i, large: i - 15),
    _map("tilt", warp.tilted, lambda i, large: (1.0 if large else 0.75) * (i - 15)),
    _map("scale", warp.scaled, lambda i, large: (2.5 * i + 40) / 100 if large else (2 * i + 70) / 100),
)
_EXTRA_ROWS = (
    _noise("speckle_noise", (0.05, 0.07, 0.10), (0.05, 0.10, 0.15)),
    Perturbation("gaussian_blur", _gaussian_blur),
    Perturbation("spatter", _spatter),
    _map("shear", warp.sheared, lambda i, large: i - 15),
)

PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType({row.name: row for row in _ROWS})
EXTRA_PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType({row.name: row for row in _EXTRA_ROWS})
"""For validation, outside of the mean."""
EVERY: Mapping[str, Perturbation] = MappingProxyType({**PERTURBATIONS, **EXTRA_PERTURBATIONS})
