"""The perturbations by name: short videos in which one nuisance changes a little from frame to frame.

A perturbation says how many frames it has and what is done to the clean image in frame i; the operations are those of
the corruptions, set frame by frame, and maps of the plane. Stability is measured between frames, never accuracy.

    gaussian_noise, shot_noise, speckle_noise   frame 0 is clean, every other frame has fresh noise; all frames are
                                                compared with frame 0. Three difficulties
    motion_blur      the direction turns             zoom_blur     mean of ever more enlarged copies; frame 0 is clean
    snow             one fall of flakes, whose direction turns     brightness    V of HSV rises
    translate        to the right, pixel by pixel    rotate, tilt, scale, shear  about the centre
    gaussian_blur    sigma grows                     spatter       drops of one splash run down

Constants stand in the order of `benchmark.BENCHMARKS`: for 32, 64, 224 and 299 pixels.

Source  Hendrycks and Dietterich, ICLR 2019, section 3.2; hendrycks/robustness, ImageNet-P/create_p, make_cifar_p.py,
        make_tinyimagenet_p.py (as make_imagenet_64_p.py), make_imagenet_p.py and make_imagenet_p_inception.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from . import warp
from .benchmark import BENCHMARKS, Benchmark, benchmark
from .borders import replicated
from .frame import Frame
from .sampling import gaussian_taps
from .spatter import Fall, plan_spatter
from .table import KNOWN, Group, Operation

Step = tuple[Operation, tuple[Any, ...]]
WARP = Operation("warp", Group.DIGITAL, False, warp.warp)
PERSPECTIVE = Operation("warp", Group.DIGITAL, False, warp.warp, rounded=True)  # Pillow truncates, OpenCV rounds
FALL_SMALL: Fall = ((0.2, 0.8), 0)
FALL_LARGE: Fall = ((0.05, 0.1, 0.15, 0.7), 1)
T = TypeVar("T")
Each = tuple[T, T, T, T]  # of the benchmarks, in their order


@dataclass(frozen=True)
class Scene:
    """The images at hand, and how difficult noise is to be (1 to 3)."""

    frame: Frame
    difficulty: int

    def of(self, values: Each[T]) -> T:
        """What counts for these images."""
        return _of(values, self.frame.benchmark)


def _of(values: Each[T], chosen: Benchmark) -> T:
    return values[tuple(BENCHMARKS).index(chosen.name)]


@dataclass(frozen=True)
class Perturbation:
    """One perturbation.

    step       (frame number, scene) -> operation and plan that make the frame of the clean image
    counts     frames of a sequence
    clean      frame 0 is the clean image
    noise      frames are compared with frame 0, not with the one before; there are three difficulties
    geometric  the plane moves: on ImageNet before the centre is cut out
    running    a frame is the mean of all steps up to it
    """

    name: str
    step: Callable[[int, Scene], Step]
    counts: Each[int] = (31, 31, 31, 31)
    clean: bool = False
    noise: bool = False
    geometric: bool = False
    running: bool = False

    def length(self, height: int, width: int, constants: str | None = None) -> int:
        """Frames of a sequence of images of this size; `constants` as in `benchmark.benchmark`."""
        return _of(self.counts, benchmark(constants, height, width))


def _planned(name: str, level: tuple[float, ...], scene: Scene, *more: Any) -> Step:
    corruption = KNOWN[name]
    return corruption, corruption.plan(level, scene.frame, *more)


Levels = tuple[float, float, float]


def _noise(name: str, small: Levels, tiny: Levels, large: Levels, larger: Levels) -> Perturbation:
    def step(i: int, scene: Scene) -> Step:
        return _planned(name, (scene.of((small, tiny, large, larger))[scene.difficulty - 1],), scene)

    return Perturbation(name, step, clean=True, noise=True)


def _motion_blur(i: int, scene: Scene) -> Step:
    radius, sigma, turn, last = scene.of(((6, 1.8, 9, 20), (14, 3, 5, 30), (10, 3, 4, 30), (13, 3, 4, 30)))
    return _planned("motion_blur", (radius, sigma), scene, float(turn * (i - last)))


def _snow(i: int, scene: Scene) -> Step:
    std, zoom, radius, sigma = scene.of(((0.3, 2, 10, 2), (0.28, 2, 10, 2.5), (0.3, 3, 14, 4), (0.3, 3, 14, 4)))
    return _planned("snow", (0.05, std, zoom, 0.5, radius, sigma, 0.85), scene, float(4 * i - 150))


def _brightness(i: int, scene: Scene) -> Step:
    return _planned("brightness", (scene.of((0.015, 0.02, 0.02, 0.02)) * (i - 15),), scene)


def _gaussian_blur(i: int, scene: Scene) -> Step:
    first, growth, cut = scene.of(((0.3, 0.015, 7.0), (0.35, 0.014, 7.0), (0.25, 0.035, 6.0), (0.35, 0.035, 6.0)))
    taps, frame = gaussian_taps(first + growth * i, cut), scene.frame
    return KNOWN["gaussian_blur"], (taps, *(replicated(side, len(taps) - 1) for side in (frame.height, frame.width)))


def _spatter(i: int, scene: Scene) -> Step:
    mean, std, sigma, cut, fall = scene.of(
        (
            (0.6, 0.265, 1.75, 0.7, FALL_SMALL),
            (0.6, 0.25, 1.75, 0.7, FALL_SMALL),
            (0.65, 0.27, 3.7, 0.69, FALL_LARGE),
            (0.65, 0.3, 4.0, 0.69, FALL_LARGE),
        )
    )
    return KNOWN["spatter"], plan_spatter((mean, std, sigma, cut, 0.6, 0), scene.frame, fall, i)


def _scale(i: int, scene: Scene) -> float:
    first, growth = scene.of(((70, 2), (40, 2.5), (40, 2.5), (40, 2.5)))
    return (growth * i + first) / 100


def _map(
    name: str,
    places: Callable[[int, int, float, bool], warp.Places],
    amount: Callable[[int, Scene], float],
    counts: Each[int] = (31, 31, 31, 31),
    *,
    operation: Operation = WARP,
    running: bool = False,
) -> Perturbation:
    def step(i: int, scene: Scene) -> Step:
        frame = scene.frame
        found = places(frame.height, frame.width, amount(i, scene), frame.published)
        return operation, (found.corners, found.between)

    return Perturbation(name, step, counts, clean=running, geometric=True, running=running)


_ROWS = (
    _noise("gaussian_noise", (0.02, 0.04, 0.06), (0.025, 0.05, 0.075), (0.03, 0.05, 0.08), (0.035, 0.055, 0.085)),
    _noise("shot_noise", (700, 400, 200), (500, 250, 125), (300, 120, 60), (250, 100, 50)),
    Perturbation("motion_blur", _motion_blur, (21, 31, 31, 31)),
    _map("zoom_blur", warp.scaled, lambda i, scene: 1 + 0.004 * i, running=True),
    Perturbation("snow", _snow),
    Perturbation("brightness", _brightness),
    _map("translate", warp.moved, lambda i, scene: i - scene.of((7, 15, 20, 20)), (16, 31, 41, 41)),
    _map("rotate", warp.rotated, lambda i, scene: i - 15),
    _map("tilt", warp.tilted, lambda i, scene: scene.of((0.75, 1.0, 1.0, 1.0)) * (i - 15), operation=PERSPECTIVE),
    _map("scale", warp.scaled, _scale),
)
_EXTRA_ROWS = (
    _noise("speckle_noise", (0.05, 0.07, 0.10), (0.05, 0.10, 0.15), (0.05, 0.10, 0.15), (0.06, 0.11, 0.16)),
    Perturbation("gaussian_blur", _gaussian_blur),
    Perturbation("spatter", _spatter),
    _map("shear", warp.sheared, lambda i, scene: i - 15),
)

PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType({row.name: row for row in _ROWS})
EXTRA_PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType({row.name: row for row in _EXTRA_ROWS})
"""For validation, outside of the mean."""
EVERY: Mapping[str, Perturbation] = MappingProxyType({**PERTURBATIONS, **EXTRA_PERTURBATIONS})
