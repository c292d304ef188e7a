"""The options of `elinvar evaluate` about attacks, and black boxes between the models of one command."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ..check import InputError
from ..infer import AttackPlan
from .options import Parser

SUITE = "attacks"
OPTIONS = ("attack_norm", "attack_eps", "attack_step", "attack_images", "attack_thorough")


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


def plan(options: Any, suites: Sequence[str]) -> AttackPlan | None:
    """What the options say, None without the suite; raises `InputError` for options that say nothing to it."""
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    if SUITE not in suites:
        named = [*given, *(["no_black_box"] if options.no_black_box else [])]
        if named:
            option = "--" + named[0].replace("_", "-")
            raise InputError(f"{option}: is for the suite {SUITE}; add it, as in --suites clean,{SUITE}")
        return None
    images = options.attack_images
    return AttackPlan(
        norm=given.get("attack_norm", "linf"),
        eps=_size("--attack-eps", options.attack_eps),
        step=_size("--attack-step", options.attack_step),
        images=1000 if images is None else _count(images),
        thorough=given.get("attack_thorough", 0),
    )


def _size(option: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"{option}: got {text!r}, expected a number or a fraction, as in 8/255") from error


def _count(text: str) -> int | None:
    try:
        return None if text == "all" else int(text)
    except ValueError as error:
        raise InputError(f"--attack-images: got {text!r}, expected a number of images, or 'all'") from error
