"""The corruptions by name: the benchmark's 15, and its 4 for validation, which are outside of the mean.

One row and one kernel make a corruption; the row's tests come with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from types import MappingProxyType
from typing import Any

from torch import Tensor

from . import blur, digital, jpeg, noise, spatter, weather
from .frame import Frame
from .severity import SEVERITY, Severity


class Group(StrEnum):
    """What kind of nuisance it is. Kernels stand in `kernels/<group>.py`."""

    NOISE = "noise"
    BLUR = "blur"
    WEATHER = "weather"
    DIGITAL = "digital"


@dataclass(frozen=True)
class Operation:
    """What is done to a batch: one function in each back end.

    stochastic  it draws; its functions take one stream for each image
    batched     the tensor back end: grey levels (n, c, h, w) float64 [, streams], *plan -> grey levels, not clipped
    rounded     uint8 results are rounded to the nearest level; all others are truncated, as the benchmark stores them
    """

    name: str
    group: Group
    stochastic: bool
    batched: Callable[..., Tensor]
    rounded: bool = field(default=False, kw_only=True)

    def compiled(self) -> Callable[..., None]:
        """The compiled back end, loaded on demand: (grey levels [, streams], *plan, out)."""
        kernels = import_module(f"{__package__}.kernels.{self.group}")
        return getattr(kernels, self.name)  # type: ignore[no-any-return]


def _as_is(level: tuple[float, ...], frame: Frame) -> tuple[float, ...]:
    del frame
    return level


@dataclass(frozen=True)
class Corruption(Operation):
    """One corruption: the operation, and how it is set.

    plan        (parameters of the severity, frame) -> what both back ends take; by default the parameters
    grey        images of one channel are allowed besides R, G, B
    tolerance   largest difference of the two back ends before storing, in grey levels; they share their draws
    growing     the mean squared change grows with severity
    """

    plan: Callable[[tuple[float, ...], Frame], tuple[Any, ...]] = _as_is
    grey: bool = True
    tolerance: float = 1e-9
    growing: bool = True

    @property
    def severity(self) -> Severity:
        """The constants of the five levels."""
        return SEVERITY[self.name]


_ROWS = (
    Corruption("gaussian_noise", Group.NOISE, True, noise.gaussian_noise),
    Corruption("shot_noise", Group.NOISE, True, noise.shot_noise, noise.plan_shot_noise),
    Corruption("impulse_noise", Group.NOISE, True, noise.impulse_noise),
    Corruption("defocus_blur", Group.BLUR, False, blur.defocus_blur, blur.plan_defocus_blur),
    Corruption("glass_blur", Group.BLUR, True, blur.glass_blur, blur.plan_glass_blur, growing=False),
    Corruption("motion_blur", Group.BLUR, True, blur.motion_blur, blur.plan_motion_blur, rounded=True),
    Corruption("zoom_blur", Group.BLUR, False, blur.zoom_blur, blur.plan_zoom_blur),
    Corruption("snow", Group.WEATHER, True, weather.snow, weather.plan_snow, growing=False),
    Corruption("frost", Group.WEATHER, True, weather.frost, weather.plan_frost, growing=False),
    Corruption("fog", Group.WEATHER, True, weather.fog, weather.plan_fog),
    Corruption("brightness", Group.WEATHER, False, weather.brightness),
    Corruption("contrast", Group.DIGITAL, False, digital.contrast),
    Corruption(
        "elastic_transform", Group.DIGITAL, True, digital.elastic_transform, digital.plan_elastic_transform,
        growing=False,
    ),
    Corruption("pixelate", Group.DIGITAL, False, digital.pixelate, digital.plan_pixelate),
    Corruption("jpeg_compression", Group.DIGITAL, False, jpeg.jpeg_compression, jpeg.plan_jpeg_compression),
)  # fmt: skip

_EXTRA_ROWS = (
    Corruption("speckle_noise", Group.NOISE, True, noise.speckle_noise),
    Corruption("gaussian_blur", Group.BLUR, False, blur.gaussian_blur, blur.plan_gaussian_blur),
    Corruption("spatter", Group.WEATHER, True, spatter.spatter, spatter.plan_spatter, growing=False),
    Corruption("saturate", Group.DIGITAL, False, digital.saturate, grey=False, growing=False),
)

CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType({row.name: row for row in _ROWS})
EXTRA: Mapping[str, Corruption] = MappingProxyType({row.name: row for row in _EXTRA_ROWS})
KNOWN: Mapping[str, Corruption] = MappingProxyType({**CORRUPTIONS, **EXTRA})
