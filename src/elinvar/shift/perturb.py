"""Perturb a batch of images: sequences of frames, one after the other or all at once."""

from collections.abc import Iterator

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from ..check import InputError, check_images, unknown
from ..rng import fold, streams
from .benchmark import benchmark
from .corrupt import example_streams, run
from .frame import SENSIBLE, Frame, check_flavour
from .perturbation import EVERY, Perturbation, Scene

DIFFICULTIES = (1, 2, 3)


def perturb(
    images: Shaped[Tensor, "n c h w"],
    name: str,
    frames: int | None = None,
    *,
    key: int | None = None,
    keys: Int64[Tensor, " n"] | None = None,
    difficulty: int = 1,
    crop: int | None = None,
    constants: str | None = None,
    flavour: str = SENSIBLE,
) -> Shaped[Tensor, "n t c h2 w2"]:
    """Sequences of frames of each image under one of `PERTURBATIONS` or `EXTRA_PERTURBATIONS`.

    images      uint8, or floating point in [0, 1]; R, G, B or one channel
    frames      how many frames, from the first on; None takes all: 31, but 21 of motion blur and 16 of translation with
                the constants of CIFAR-10-P, and 41 of translation with those of ImageNet-P
    key, keys   as in `corrupt`: a number for the batch, or a stream for each example; None draws anew
    difficulty  1 to 3, of noise
    crop        the result is a square of so many pixels from the centre. Translation, rotation, tilt, scale, shear and
                the zoom move the whole image before it is cut: ImageNet-P takes images of 256 pixels and a crop of 224
    constants   as in `corrupt`, of the -P set with the same name; None goes by the size after `crop`
    flavour     "sensible": maps about the true centre, exact means; drops that run out leave the clean image.
                "published": what the generators' libraries of 2018 did, to compare with numbers of the published files

        rotate, scale, shear, zoom_blur   maps of torchvision before 0.8: the centre lies half a pixel right of and
                                          below the true one, and a shear squeezes rows by the cosine of its angle
        zoom_blur                         of uint8: copies are truncated to bytes, their mean is taken in float32
        tilt                              places in steps of 1/32 pixel, as OpenCV counts
        spatter                           a frame without light on its drops is black; drops above white wrap around
        all others                        the same in both flavours

    The dtype and device stay. Frames of an example depend on its pixels and its stream alone. uint8 frames are
    truncated to whole levels, those of motion blur and tilt rounded, as the generators' libraries store them. What is
    drawn once, snow and drops, is the same in all frames; noise is fresh in each.

    Raises `InputError` for an unknown name, an impossible number of frames, difficulty or crop, and as `corrupt`.

    Source   Hendrycks and Dietterich, ICLR 2019, section 3.2; hendrycks/robustness, ImageNet-P/create_p,
             make_cifar_p.py, make_tinyimagenet_p.py, make_imagenet_p.py and make_imagenet_p_inception.py.
    Differs  In both flavours: draws are keyed, and frames are not compressed to video. Tiny-ImageNet-P blurs the whole
             photograph by motion, and ImageNet-P-299 moves, turns, tilts and shears it, before it is made small; here
             the image at hand is blurred and moved, by as many pixels, which is more.

    >>> perturb(torch.zeros(2, 3, 32, 32), "translate").shape
    torch.Size([2, 16, 3, 32, 32])
    """
    made = perturbation_frames(
        images, name, frames, key=key, keys=keys, difficulty=difficulty, crop=crop, constants=constants, flavour=flavour
    )
    first = next(made)
    count = _count(EVERY[name], frames, first.shape[2], first.shape[3], constants)
    result = first.new_empty(len(first), count, *first.shape[1:])
    result[:, 0] = first
    for place, frame in enumerate(made, start=1):
        result[:, place] = frame
    return result


def perturbation_frames(
    images: Shaped[Tensor, "n c h w"],
    name: str,
    frames: int | None = None,
    *,
    key: int | None = None,
    keys: Int64[Tensor, " n"] | None = None,
    difficulty: int = 1,
    crop: int | None = None,
    constants: str | None = None,
    flavour: str = SENSIBLE,
) -> Iterator[Tensor]:
    """The frames of `perturb`, each (n, c, h, w), made when asked for: only one is held at a time.

    Raises at once, not at the first frame, what `perturb` raises.

    >>> sum(1 for frame in perturbation_frames(torch.zeros(2, 3, 32, 32), "brightness", frames=4))
    4
    """
    if name not in EVERY:
        raise unknown("perturbation", name, EVERY)
    row = EVERY[name]
    check_images(images)
    n, channels, height, width = images.shape
    if channels not in (1, 3):
        raise InputError(f"images: got {channels} channels, expected 3 (R, G, B) or 1")
    size = _cropped_size(height, width, crop)
    chosen = benchmark(constants, *size).name
    count = _count(row, frames, size[0], size[1], chosen)
    check_flavour(flavour)
    if isinstance(difficulty, bool) or difficulty not in DIFFICULTIES or (difficulty > 1 and not row.noise):
        raise InputError(f"difficulty: got {difficulty!r}, expected {'1, 2 or 3' if row.noise else '1'} for {name}")
    own = streams(fold("perturbation", name, difficulty), example_streams(n, key, keys).to(images.device))
    images = images.detach()
    if not row.geometric:
        images, height, width = _centre(images, size), *size
    scene = Scene(Frame(channels, height, width, None, chosen, flavour), difficulty)
    in_bytes = row.running and scene.frame.published and images.dtype == torch.uint8
    return (_bytes if in_bytes else _running if row.running else _frames)(row, images, own, scene, count, size)


def _cropped_size(height: int, width: int, crop: object) -> tuple[int, int]:
    if crop is not None and (isinstance(crop, bool) or not isinstance(crop, int) or crop > min(height, width)):
        raise InputError(f"crop: got {crop!r}, expected at most the {min(height, width)} pixels of the images, or None")
    return (height, width) if crop is None else (crop, crop)


def _count(row: Perturbation, frames: object, height: int, width: int, constants: str | None) -> int:
    most = row.length(height, width, constants)
    if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int) or not 1 <= frames <= most):
        raise InputError(f"frames: got {frames!r}, expected 1 to {most} of {row.name} at {height}x{width}, or None")
    return most if frames is None else frames


def _centre(images: Tensor, size: tuple[int, int]) -> Tensor:
    top, left = ((whole - part) // 2 for whole, part in zip(images.shape[2:], size, strict=True))
    return images[:, :, top : top + size[0], left : left + size[1]]


def _frames(
    row: Perturbation, images: Tensor, own: Tensor, scene: Scene, count: int, size: tuple[int, int]
) -> Iterator[Tensor]:
    for i in range(count):
        if i == 0 and row.clean:
            yield _centre(images, size).clone()
            continue
        operation, plan = row.step(i, scene)
        yield _centre(run(operation, images, streams(fold("frame", i), own) if row.noise else own, plan), size)


def _running(
    row: Perturbation, images: Tensor, own: Tensor, scene: Scene, count: int, size: tuple[int, int]
) -> Iterator[Tensor]:
    yield _centre(images, size).clone()
    exact = images.double() / 255 if images.dtype == torch.uint8 else images.double()
    total = _centre(exact, size).clone()
    for i in range(1, count):
        operation, plan = row.step(i, scene)
        total += _centre(run(operation, exact, own, plan), size)
        mean = total / (i + 1)
        yield ((mean * 255).clamp(0, 255) if images.dtype == torch.uint8 else mean).to(images.dtype)


def _bytes(
    row: Perturbation, images: Tensor, own: Tensor, scene: Scene, count: int, size: tuple[int, int]
) -> Iterator[Tensor]:
    """As `_running`, by the generator's arithmetic: copies in bytes, float32, truncation."""
    yield _centre(images, size).clone()
    total = _centre(images, size).float() / 255
    for i in range(1, count):
        operation, plan = row.step(i, scene)
        total += _centre(run(operation, images, own, plan), size).float() / 255
        yield ((total / (i + 1)) * 255).to(torch.uint8)
