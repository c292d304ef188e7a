"""Checks of what users hand in, with one style of error: what came, what was expected, what to do."""

import sys
import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import torch
from torch import Tensor

SMALLEST_SIDE = 8  # of images that are recognized by their shape


class InputError(ValueError):
    """Bad input from a user. Its text is one clear line; the command line prints it and exits with code 2."""


class InputWarning(UserWarning):
    """Input that can be used, but may not be what its user means. The command line prints it as one line."""


def warn(text: str) -> None:
    """Warn with `text`, one clear line, in the name of the nearest caller outside of elinvar."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "elinvar":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, InputWarning, stacklevel=level)


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is in no table, with the nearest names that are.

    >>> print(unknown("recipe", "augmx", ["augmix", "standard"]))
    unknown recipe 'augmx': did you mean 'augmix'? Known: augmix, standard
    """
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {str(name)!r}: {hint}Known: {', '.join(names)}")


def channels_last_hint(shape: Sequence[int]) -> str:
    """What to do about a batch whose shape is (N, H, W, C); nothing for any other.

    >>> channels_last_hint((4, 32, 32, 3)), channels_last_hint((4, 3, 32, 32))
    ('these look like (N, H, W, C): say images.permute(0, 3, 1, 2)', '')
    """
    last = len(shape) == 4 and shape[3] in (1, 3, 4) and min(shape[1:3]) >= SMALLEST_SIDE
    return "these look like (N, H, W, C): say images.permute(0, 3, 1, 2)" if last else ""


def warn_of_dark(highest: float, lowest: float, bounds: tuple[float, float] = (0.0, 1.0), name: str = "images") -> None:
    """Warn of a batch whose brightest value is a tenth to one level of 255 above black: of an image divided twice."""
    level = (bounds[1] - bounds[0]) / 255
    if lowest < highest and level / 10 <= highest - bounds[0] <= level * (1 + 1e-6):
        warn(
            f"{name}: values span [{lowest:.4g}, {highest:.4g}], which is black in {list(bounds)}; were they divided "
            "by 255 twice, or are the bounds those of other images?"
        )


def check_images(images: Tensor, *, name: str = "images", channels: int | None = None) -> None:
    """Raise `InputError` unless `images` is an NCHW batch: uint8, or floating point with finite values in [0, 1].

    Reads every float value once; call it at the edges of the library, not inside loops. Warns of images that are all
    but black, as those that were divided by 255 twice.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"{name}: got {type(images).__name__}, expected a torch.Tensor of shape (N, C, H, W)")
    if images.ndim != 4:
        raise InputError(
            f"{name}: got shape {tuple(images.shape)}, expected (N, C, H, W); for one image use image.unsqueeze(0)"
        )
    if hint := channels_last_hint(images.shape):
        raise InputError(f"{name}: got shape {tuple(images.shape)}, expected (N, C, H, W); {hint}")
    if channels is not None and images.shape[1] != channels:
        raise InputError(f"{name}: got {images.shape[1]} channels, expected {channels}")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise InputError(f"{name}: got dtype {images.dtype}, expected uint8, or floating point in [0, 1]")
    if images.numel():
        low, high = (value.item() for value in torch.aminmax(images))
        if not (low >= 0.0 and high <= 1.0):  # also true for NaN
            raise InputError(
                f"{name}: values span [{low:.4g}, {high:.4g}], expected finite values in [0, 1]; "
                "divide 0..255 images by 255 and leave standardization to the model's input layer"
            )
        warn_of_dark(high, low, name=name)
