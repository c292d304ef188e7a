"""What each technique does to a few images, as rows of a picture: at several strengths, or in several draws."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from ..augment import LEVELS, OPS, POLICIES, Kind, Op, Program, apply
from ..check import InputError, unknown
from ..infer.judge import SEVERITIES, corrupt
from ..mixing import METHODS, mix
from ..report import Strip
from ..rng import Seeds, Source, streams
from ..shift import CORRUPTIONS
from ..views import Batch

DRAWS = 5
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the way to the end of an operation's range

# The setting that says how strong a policy is, with values from weak to strong; lengths are for images of 32 pixels.
STRENGTHS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "augmix": ("severity", (1, 3, 5, 7, 10)),
    "random_chain": ("severity", (1, 3, 5, 7, 10)),
    "randaugment": ("m", (3, 9, 15, 22, 30)),
    "cutout": ("size", (4, 8, 12, 16, 20)),
    "gaussian_noise": ("sigma", (0.02, 0.05, 0.1, 0.2, 0.4)),
    "patch_gaussian": ("sigma", (0.05, 0.1, 0.2, 0.4, 0.8)),
    "patch_uniform": ("amplitude", (0.1, 0.2, 0.4, 0.6, 0.8)),
    "pad_crop": ("padding", (2, 4, 6, 8, 12)),
}
LENGTHS = ("size", "padding")


def _bytes(images: Tensor) -> Tensor:
    return images if images.dtype == torch.uint8 else images.clamp(0, 1).mul(255).round().to(torch.uint8)


def _tile(images: Tensor, size: torch.Size) -> Tensor:
    """Images as tiles of a size, whatever theirs."""
    images = _bytes(images)
    return images if images.shape[2:] == size else interpolate(images, size, mode="nearest")


def _keys(draw: int, index: Tensor) -> Tensor:
    return streams(Seeds(0).key(Source.AUGMENT, draw), index)


def _strips(batch: Batch, versions: Sequence[Tensor], labels: Sequence[str]) -> list[Strip]:
    """A strip for each example: as it is, then each version of it."""
    size = batch.images.shape[2:]
    columns = torch.stack([batch.images, *(_tile(version, size) for version in versions)], dim=1)
    return [Strip(row, ("as it is", *labels)) for row in columns]


def of_corruption(name: str, batch: Batch) -> list[Strip]:
    """All five severities."""
    versions = [corrupt(batch, name, severity).images for severity in SEVERITIES]
    return _strips(batch, versions, [f"severity {severity}" for severity in SEVERITIES])


def _arguments(op: Op, share: float, side: int) -> tuple[Sequence[float], str]:
    """Parameters of an operation at a share of its range, on images of that side, and the one that says how strong."""
    if op.kind is Kind.REGION:
        length = round((0.6 * share if op.name in ("cutout", "erase") else 0.6) * side)
        around = (side - length) // 2
        rectangle, strength = [length, length, around, around], round(80 * share)
        return {
            "cutout": ([*rectangle, 128, 128, 128], f"side {length}"),
            "erase": ([*rectangle, 1], f"side {length}"),
            "gaussian_noise": ([strength, strength, strength, 1], f"sigma {strength}"),
            "patch_gaussian": ([*rectangle, strength, 1], f"sigma {strength}"),
            "patch_uniform": ([*rectangle, 2 * strength, 1], f"amplitude {2 * strength}"),
        }[op.name]
    scale = next(scale for scale in LEVELS.values() if op.name in scale.ranges)
    code, level = torch.tensor([op.code]), torch.tensor([share * scale.top], dtype=torch.float64)
    value = float(scale.parameters(code, level, torch.ones_like(level), height=side, width=side))
    return [value], f"{op.parameters[0]} {value:.3g}"


def of_operation(op: Op, batch: Batch) -> list[Strip]:
    """From weak to strong by the first published scale that has it; one version if it has no parameter."""
    versions, labels = [], []
    for share in SHARES if op.parameters else SHARES[:1]:
        values, label = _arguments(op, share, batch.images.shape[-1]) if op.parameters else ([0.0], op.name)
        ops = torch.full((len(batch), 1, 1), op.code, dtype=torch.int32)
        args = torch.tensor(values, dtype=torch.float32).expand(len(batch), 1, 1, -1)
        versions.append(apply(batch.images, Program(ops, args, fill=(128,))))
        labels.append(label)
    return _strips(batch, versions, labels)


def of_policy(name: str, batch: Batch) -> list[Strip]:
    """The same draws from weak to strong, or several draws of a policy that has no strength."""
    policy: Any = POLICIES[name]()
    if name not in STRENGTHS:
        versions = [policy(batch.images, keys=_keys(draw, batch.index)) for draw in range(DRAWS)]
        return _strips(batch, versions, [f"draw {draw + 1}" for draw in range(DRAWS)])
    setting, values = STRENGTHS[name]
    versions, labels = [], []
    for value in values:
        value = round(value * batch.images.shape[-1] / 32) if setting in LENGTHS else value
        stronger = replace(policy, **{setting: value})
        versions.append(stronger(batch.images, keys=_keys(0, batch.index)))
        labels.append(f"{setting} {value:g}")
    return _strips(batch, versions, labels)


def of_mix(name: str, batch: Batch) -> list[Strip]:
    """Each image, the next one as its partner, and several draws with the weight of the image in the label."""
    if len(batch) < 2:
        raise InputError("--images: got 1, expected 2 or more for what mixes two")
    others = batch.images.roll(-1, 0)
    first, second = (one_hot(torch.full((len(batch),), number), 2).float() for number in range(2))
    made = [
        mix(name, batch.images, first, partner=(others, second), keys=_keys(draw, batch.index)) for draw in range(DRAWS)
    ]
    # Zero-mean images get the middle grey back.
    shown = [images + 0.5 if METHODS[name].zero_mean else images for images, _ in made]
    columns = torch.stack([batch.images, others, *map(_bytes, shown)], dim=1)
    weights = torch.stack([targets[:, 0] for _, targets in made], dim=1)
    return [
        Strip(row, ("image", "partner", *(f"label {weight:.2f}" for weight in of.tolist())))
        for row, of in zip(columns, weights, strict=True)
    ]


SHOWN: Mapping[str, tuple[Mapping[str, Any], Callable[[str, Batch], list[Strip]]]] = {
    "corruption": (CORRUPTIONS, of_corruption),
    "policy": (POLICIES, of_policy),
    "mix": (METHODS, of_mix),
    "operation": (OPS, lambda name, batch: of_operation(OPS[name], batch)),
}


def find(name: str) -> tuple[str, str]:
    """The kind and name of what people call `name`: a name of a table, or KIND:NAME where two tables have it.

    Raises `InputError` if there is nothing of that name to see.

    >>> find("RandAugment"), find("contrast"), find("operation:contrast")
    (('policy', 'randaugment'), ('corruption', 'contrast'), ('operation', 'contrast'))
    """
    kind, colon, rest = name.rpartition(":")
    if colon and kind not in SHOWN:
        raise unknown("kind of thing to see", kind, SHOWN)
    wanted = rest.lower().replace("-", "_")
    for each in [kind] if colon else SHOWN:
        if wanted in SHOWN[each][0]:
            return each, wanted
    tables = [SHOWN[kind][0]] if colon else [table for table, _ in SHOWN.values()]
    raise unknown(kind or "augmentation, mix or corruption", rest, {known for table in tables for known in table})


def strips(name: str, batch: Batch) -> list[Strip]:
    """The rows of the picture of `name`, one for each image. Raises `InputError` as `find` does."""
    kind, found = find(name)
    return SHOWN[kind][1](found, batch)


def overview(kind: str, batch: Batch, columns: Sequence[int]) -> list[Strip]:
    """One row for each thing of a kind, all on the first image, with some columns of its own picture."""
    rows = []
    for name in SHOWN[kind][0]:
        strip = SHOWN[kind][1](name, batch)[0]
        chosen = [place for place in columns if place < len(strip.labels)]
        images = torch.stack([strip.images[place] for place in chosen])
        rows.append(Strip(images, tuple(strip.labels[place] for place in chosen), name))
    return rows
