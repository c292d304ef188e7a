"""Operations that mix a pixel with its other channels or with its neighbours."""

from collections.abc import Callable, Mapping

from .histogram import luma
from .table import Bytes, Factor, blend


def color(images: Bytes, factor: Factor) -> Bytes:
    """Blend each pixel with its own brightness; an image of one channel stays as it is."""
    if images.shape[1] == 1:
        return images
    return blend(luma(images).float().unsqueeze(1), images.float(), factor[:, None, None, None])


def sharpness(images: Bytes, factor: Factor) -> Bytes:
    """Blend with the image smoothed by [1 1 1; 1 5 1; 1 1 1] / 13; pixels at the border stay as they are."""
    if min(images.shape[2:]) < 3:
        return images
    sharp = images.clone()
    down = images[:, :, :-2].int() + images[:, :, 1:-1] + images[:, :, 2:]
    value = images[:, :, 1:-1, 1:-1]
    total = down[..., :-2] + down[..., 1:-1] + down[..., 2:] + 4 * value.int()
    smooth = (total.float() * (1 / 13) + 0.5).trunc_()
    sharp[:, :, 1:-1, 1:-1] = blend(smooth, value.float(), factor[:, None, None, None])
    return sharp


CHANGES: Mapping[str, Callable[[Bytes, Factor], Bytes]] = {"color": color, "sharpness": sharpness}
