"""Sample images with their corruptions, as one picture without text: the page writes the names beside it."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ..check import InputError
from .result import label

PIXELS = 64  # small images are enlarged to tiles of about this edge
LARGEST = 96  # and large ones reduced to this at most
GAP = 4
BUDGET = 750_000  # bytes of PNG; as text in the page it is a third more


@dataclass(frozen=True, kw_only=True)
class SampleSheet:
    """A sheet of tiles: `rows` names down, `columns` names across. `uri` is a data URI of a PNG.

    scale   edge of a tile over edge of the image; below 1 the images were reduced, so fine noise looks weaker
    """

    uri: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    size: tuple[int, int]
    scale: float


def sample_grid(
    images: UInt8[Tensor, "n c h w"], corrupted: Mapping[str, UInt8[Tensor, "severities n c h w"]]
) -> SampleSheet:
    """A row for each corruption: an image, then the same image at each severity.

    Row r shows image r modulo n, so a few images of different classes make a varied sheet. Small images are enlarged by
    a whole factor without smoothing; large ones are reduced until the sheet stays below `BUDGET`.

    Raises `InputError` if there is nothing to show, the shapes do not belong together, or images are neither grey nor
    colour.
    """
    if not corrupted or not len(images):
        raise InputError(f"samples: got {len(images)} images and {len(corrupted)} corruptions, expected one or more")
    if images.shape[1] not in (1, 3):
        raise InputError(f"samples: got {images.shape[1]} channels, expected 1 (grey) or 3 (colour)")
    severities = {len(versions) for versions in corrupted.values()}
    for name, versions in corrupted.items():
        if versions.shape[1:] != images.shape or len(severities) > 1:
            raise InputError(
                f"samples: {name!r} has shape {tuple(versions.shape)}, expected (severities, *{tuple(images.shape)}) "
                "with as many severities as the others"
            )
    count = severities.pop()
    tiles = np.stack(
        [
            np.concatenate([images[row % len(images)][None].numpy(), versions[:, row % len(images)].numpy()])
            for row, versions in enumerate(corrupted.values())
        ]
    ).transpose(0, 1, 3, 4, 2)  # rows, columns, height, width, channels
    uri, size, scale = _fit(tiles)
    return SampleSheet(
        uri=uri,
        rows=tuple(map(label, corrupted)),
        columns=("clean", *(str(severity) for severity in range(1, count + 1))),
        size=size,
        scale=scale,
    )


def _fit(tiles: np.ndarray) -> tuple[str, tuple[int, int], float]:
    """The sheet as a data URI, as large as is useful and the budget allows."""
    edge = max(tiles.shape[2:4])
    enlarged = range(max(1, PIXELS // edge), 0, -1) if edge <= LARGEST else ()
    reduced = (pixels / edge for pixels in (LARGEST, 80, 64, 48, 32, 24) if pixels < edge)
    for scale in (*map(float, enlarged), *reduced):
        sheet, buffer = _sheet(tiles, scale), io.BytesIO()
        sheet.save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= BUDGET:
            return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(), sheet.size, scale
    raise InputError(f"samples: {len(tiles)} rows do not fit into {BUDGET} bytes; show fewer corruptions")


def _sheet(tiles: np.ndarray, scale: float) -> Image.Image:
    rows, columns, *shape, channels = tiles.shape
    height, width = (max(1, round(side * scale)) for side in shape)
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    mode = "LA" if channels == 1 else "RGBA"
    sheet = Image.new(mode, (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP))
    for row in range(rows):
        for column in range(columns):
            tile = tiles[row, column]
            image = Image.fromarray(tile[..., 0] if channels == 1 else tile).resize((width, height), how)
            sheet.paste(image.convert(mode), (column * (width + GAP), row * (height + GAP)))
    return sheet
