"""Run programs: round by round, with all images that take the same kind of operation together.

Programs stay on the host, where they are drawn: that says which rows go where without waiting for the device.
"""

import torch
from jaxtyping import Float32, Int32, Int64, UInt8
from torch import Tensor

from ..ops import OPS, Kind
from ..program import Program
from . import histogram, local, region, table, warp
from .table import Bytes

# Operations by kind, so that those of a kind follow each other; an operation's rank is its place, from 1.
ORDER = [op for kind in Kind for op in OPS.values() if op.kind is kind and op.name != "identity"]
RANK = torch.zeros(len(OPS), dtype=torch.int64)
NOTHING = torch.full((len(OPS),), float("nan"))
for _place, _op in enumerate(ORDER):
    RANK[_op.code] = _place + 1
    NOTHING[_op.code] = float("nan") if _op.nothing is None else _op.nothing

# Pixel values that are worked on at once, over all chains: enough to fill a device, little against its memory.
LARGEST, SMALLEST = 1 << 24, 1 << 20
SHARE = 8


def piece(total: int, image: int) -> int:
    """How many images to work on at once, of `total` with `image` values each (over all chains).

    Temporary arrays then hold about six float32 for each of those values, so that they stay below the size of the
    batch as float32, whatever the batch; small batches are done at once.
    """
    return max(1, min(max(total * image // SHARE, SMALLEST), LARGEST) // image)


def run(images: UInt8[Tensor, "n c h w"], program: Program) -> Float32[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"]:
    """What `program` makes of the images: uint8 if it is pure, else float32 in [0, 1]."""
    host = program.to("cpu")
    device = images.device
    output = torch.empty(images.shape, dtype=torch.uint8 if program.pure else torch.float32, device=device)
    if not images.numel():
        return output
    fill = torch.tensor(program.fill, dtype=torch.uint8, device=device).expand(images.shape[1])
    chains = host.ops.shape[1]
    size = piece(len(images), chains * images[0].numel())
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        results = images[rows].repeat_interleave(chains, 0)
        for step in range(host.ops.shape[2]):
            _round(results, host.ops[rows, :, step].flatten(), host.args[rows, :, step].flatten(0, 1), fill)
        if host.weights is None:
            output[rows] = results
        else:
            _mix(images[rows], results.view(-1, chains, *images.shape[1:]), host.weights[rows].to(device), output[rows])
    return output


def _round(
    results: Bytes, ops: Int32[Tensor, " rows"], args: Float32[Tensor, "rows parameters"], fill: UInt8[Tensor, " c"]
) -> None:
    """One operation for each row of `results`, in place."""
    codes = ops.long()
    rank = RANK[codes].masked_fill(args[:, 0] == NOTHING[codes], 0)
    order = rank.argsort(stable=True)
    ends = rank.bincount(minlength=len(ORDER) + 1).cumsum(0).tolist()
    spans = {op.name: slice(start, end) for op, start, end in zip(ORDER, ends[:-1], ends[1:], strict=True)}
    args, device = args[order], results.device
    row, first = order.to(device), args[:, 0].contiguous().to(device)
    height, width = results.shape[2:]

    def rows_of(kinds: tuple[Kind, ...]) -> tuple[list[str], Int64[Tensor, " some"]]:
        names = [name for name, span in spans.items() if OPS[name].kind in kinds and span.start < span.stop]
        return names, row[spans[names[0]].start : spans[names[-1]].stop] if names else row[:0]

    names, rows = rows_of((Kind.TABLE, Kind.HISTOGRAM))
    if names:
        tables = []
        for name in names:
            span = spans[name]
            if OPS[name].kind is Kind.TABLE:
                made = table.TABLES[name](first[span]).unsqueeze(1)
            else:
                made = histogram.TABLES[name](results[row[span]], first[span])
            tables.append(made.expand(-1, results.shape[1], -1))
        results[rows] = table.look_up(results[rows], torch.cat(tables))
    names, rows = rows_of((Kind.WARP,))
    if names:
        matrices = [warp.MATRICES[name](args[spans[name], 0].double(), height, width) for name in names]
        results[rows] = warp.warp(results[rows], torch.cat(matrices).to(device), fill)
    for name in rows_of((Kind.LOCAL,))[0]:
        rows = row[spans[name]]
        results[rows] = local.CHANGES[name](results[rows], first[spans[name]])
    for name in rows_of((Kind.REGION,))[0]:
        rows = row[spans[name]]
        results[rows] = region.CHANGES[name](results[rows], args[spans[name]].to(device))


def _mix(
    images: UInt8[Tensor, "n c h w"],
    results: UInt8[Tensor, "n chains c h w"],
    weights: Float32[Tensor, "n chains"],
    output: Float32[Tensor, "n c h w"],
) -> None:
    """The mixture of images and results, in the order of additions of the compiled back end."""
    image = images.float()
    mixed = image.clone()
    for result, weight in zip(results.unbind(1), weights.unbind(1), strict=True):
        mixed += (result.float() - image).mul_(weight[:, None, None, None])
    # Only rounding can take a mixture out of range.
    torch.div(mixed, 255, out=output).clamp_(0, 1)
