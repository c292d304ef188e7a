"""`elinvar show`: a picture of what an augmentation or a corruption does."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..augment import AUGMIX_LEVELS, OPS, POLICIES, Op, Program, apply
from ..check import unknown
from ..data import load
from ..files import replacing
from ..infer.judge import SEVERITIES, corrupt
from ..report import Strip, gallery
from ..rng import streams
from ..shift import CORRUPTIONS
from ..views import Batch
from .options import parser, progress_console, say, write_json
from .pictures import examples

LEVELS = (2, 4, 6, 8, 10)
DRAWS = 5


def _strips(batch: Batch, versions: Sequence[Tensor], labels: Sequence[str]) -> list[Strip]:
    """A strip for each example: as it is, then each version of it."""
    columns = torch.stack([batch.images, *versions], dim=1)
    return [Strip(row, ("as it is", *labels)) for row in columns]


def of_corruption(name: str, batch: Batch) -> list[Strip]:
    """All five severities."""
    versions = [corrupt(batch, name, severity).images for severity in SEVERITIES]
    return _strips(batch, versions, [f"severity {severity}" for severity in SEVERITIES])


def of_operation(op: Op, batch: Batch) -> list[Strip]:
    """Several levels of AugMix's scale, or the one version of an operation without a parameter."""
    n, (height, width) = len(batch), batch.images.shape[2:]
    codes = torch.full((n, 1, 1), op.code)
    versions, labels = [], []
    for level in LEVELS if op.parameters else LEVELS[:1]:
        of = AUGMIX_LEVELS.parameters(
            codes, torch.full(codes.shape, float(level)).double(), torch.ones(codes.shape).double(),
            height=height, width=width,
        )  # fmt: skip
        versions.append(apply(batch.images, Program(codes.to(torch.int32), of.unsqueeze(-1))))
        labels.append(f"{op.parameters[0]} {float(of[0, 0, 0]):.3g}" if op.parameters else op.name)
    return _strips(batch, versions, labels)


def of_policy(name: str, batch: Batch) -> list[Strip]:
    """Several draws."""
    versions = []
    for draw in range(DRAWS):
        images = POLICIES[name]()(batch.images, keys=streams(draw, batch.index))
        versions.append(images if images.dtype == torch.uint8 else images.mul(255).round().to(torch.uint8))
    return _strips(batch, versions, [f"draw {draw + 1}" for draw in range(DRAWS)])


def strips(name: str, batch: Batch) -> list[Strip]:
    """The picture of `name`, or of `operation:name` where a corruption has the same one.

    Raises `InputError` if there is nothing of that name to see.
    """
    if name in CORRUPTIONS:
        return of_corruption(name, batch)
    if name in POLICIES:
        return of_policy(name, batch)
    operation = name.removeprefix("operation:")
    if operation in OPS:
        return of_operation(OPS[operation], batch)
    raise unknown("augmentation or corruption", name, [*CORRUPTIONS, *POLICIES, *OPS])


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser(
        "show",
        "Draw what an augmentation policy, an operation or a corruption does to a few test images.",
        "elinvar show augmix --data cifar10:DIR --out augmix.png",
    )
    made.add_argument(
        "name", type=str, help="a policy, corruption or operation of 'elinvar list'; operation:contrast for one of two"
    )
    made.add_argument("--data", type=str, default="digits", help="where the images come from")
    made.add_argument("--images", type=int, default=4, help="how many")
    made.add_argument("--out", type=str, default=None, help="the PNG to write; default: NAME.png")
    options = made.parse_args(list(arguments))
    picture = gallery(options.name, strips(options.name, examples(load(options.data).test, options.images)))
    out = Path(options.out or options.name.replace(":", "-") + ".png")
    with replacing(out) as temporary:
        picture.save(temporary, format="PNG")
    if options.json:
        write_json({"picture": str(out), "size": list(picture.size)})
    else:
        say(progress_console(), f"wrote {out}")
    return 0
