"""Whether the sizes of an attack are in the unit of its images: 8 levels of 255 are 8/255 of images in [0, 1]."""

import math

from ..check import InputError, warn
from .estimator import Estimator
from .linf import Linf
from .rules import Adam, Rule
from .spsa import Spsa
from .threat import Bounds, Threat

MANY = 16.0  # ranges in the Euclidean norm: more than any eps that is in use


def check_units(threat: Threat, rule: Rule, estimator: Estimator, bounds: Bounds) -> None:
    """Raise `InputError` for sizes beyond what two images in the bounds differ by; warn of an eps as large as that."""
    room = bounds[1] - bounds[0]
    values = {"eps": threat.eps} if isinstance(threat, Linf) else {}
    if isinstance(threat, Linf) or isinstance(rule, Adam):
        values["step"] = rule.step
    if isinstance(estimator, Spsa):
        values["delta"] = estimator.delta
    for name, value in values.items():
        if value > room:
            raise too_large(name, value, room, bounds)
    if isinstance(threat, Linf) and threat.eps == room:
        warn(f"eps: {threat.eps:g} allows every image in {list(bounds)}; {_hint(threat.eps, room)}")


def check_lengths(threat: Threat, rule: Rule, bounds: Bounds, values: int) -> None:
    """The same for l2 norms, whose room depends on how many values an image has."""
    if isinstance(threat, Linf):
        return
    room = bounds[1] - bounds[0]
    longest = room * math.sqrt(values)
    sizes = {"eps": threat.eps} | ({} if isinstance(rule, Adam) else {"step": rule.step})
    for name, size in sizes.items():
        if size > longest:
            raise too_large(name, size, longest, bounds)
    if threat.eps > MANY * room:
        warn(f"eps: {threat.eps:g} is large for a norm of images in {list(bounds)}; {_hint(threat.eps, room)}")


def too_large(name: str, value: float, room: float, bounds: Bounds) -> InputError:
    """The error for a size beyond what two images in the bounds can differ by."""
    return InputError(
        f"{name}: got {value:g}, but two images in {list(bounds)} differ by at most {room:.4g}; "
        f"{_hint(value, bounds[1] - bounds[0])}"
    )


def _hint(value: float, room: float) -> str:
    return f"for {value:g} levels of 255 say {value:g}/255" if room == 1 else "give it in units of the images"
