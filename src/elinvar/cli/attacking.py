"""The options of `elinvar evaluate` about attacks, and black boxes between the models of one command."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from ..check import InputError
from ..infer import AttackPlan
from .options import Parser

SUITE = "attacks"


def add_attacks(to: Parser) -> None:
    """The options that say how models are attacked."""
    made = to.add_argument_group("the suite attacks")
    made.add_argument("--attack-norm", type=str, default=None, metavar="NORM", help="linf or l2; default: linf")
    made.add_argument(
        "--attack-eps", type=str, default=None, metavar="EPS",
        help="size of the perturbations, for images in [0, 1], as 8/255 or 0.03; default: 8/255, for l2 128/255",
    )  # fmt: skip
    made.add_argument(
        "--attack-step", type=str, default=None, metavar="STEP", help="of PGD, in the same unit; default: EPS / 4"
    )
    made.add_argument(
        "--attack-images", type=str, default=None, metavar="N",
        help="how many test images are attacked, classes in proportion, or 'all'; default: 1000",
    )  # fmt: skip
    made.add_argument(
        "--attack-thorough", type=int, default=None, metavar="N",
        help="how many of them PGD-1000 and SPSA are tried on, which takes up to two hours for 100 images and a "
        "network of CIFAR on two cores; default: 0, without them",
    )  # fmt: skip
    made.add_argument(
        "--no-black-box", action="store_true",
        help="do not show the images made for one model to the others; default: all are shown, at PGD-10",
    )  # fmt: skip


def _size(option: str, text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"{option}: got {text!r}, expected a number or a fraction, as in 8/255") from error


def _count(option: str, text: str) -> int | None:
    try:
        return None if text == "all" else int(text)
    except ValueError as error:
        raise InputError(f"{option}: got {text!r}, expected a number of images, or 'all'") from error


def _as_it_is(option: str, value: Any) -> Any:
    del option
    return value


# Settings of `AttackPlan` that have an option, and how its value is read.
SETTINGS: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {"norm": _as_it_is, "eps": _size, "step": _size, "images": _count, "thorough": _as_it_is}
)


def plan(options: Any, suites: Sequence[str]) -> AttackPlan | None:
    """What the options say, None without the suite; raises `InputError` for options that say nothing to it."""
    given = {name: value for name in SETTINGS if (value := getattr(options, f"attack_{name}")) is not None}
    if SUITE in suites:
        return AttackPlan(**{name: SETTINGS[name](f"--attack-{name}", value) for name, value in given.items()})
    named = [*(f"--attack-{name}" for name in given), *(["--no-black-box"] if options.no_black_box else [])]
    if named:
        raise InputError(f"{named[0]}: is for the suite {SUITE}; add it, as in --suites clean,{SUITE}")
    return None
