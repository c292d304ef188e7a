"""An augmentation among the layers of a model."""

from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor, nn

from ..views import unit
from .base import Augmentation
from .opaque import result


class Module(nn.Module):
    """Augments in training mode; in evaluation mode images pass, as through dropout.

    Images come out of both modes in the same type, so that what follows sees the same scale: uint8 images that AugMix
    would mix to float32 in [0, 1] are divided by 255 when they pass. Passing keeps gradients; augmenting has none.
    There is nothing to save: it adds no entry to a state dict.

    More arguments come back as they are, so that it also stands in a pipeline of (image, target) pairs:
    `torchvision.transforms.v2.Compose([Flip().module(), ...])(image, target)`.

    It holds the augmentation and is not one itself: equal augmentations are equal values, and `nn.Module` would take
    two equal layers for one, and switch only one of them to evaluation.

    Raises `InputError` as the augmentation does; in evaluation mode nothing is checked.

    >>> from elinvar.augment import AugMix
    >>> layer = AugMix().module()
    >>> layer(torch.zeros(2, 3, 8, 8)).shape, layer.eval()(torch.ones(2, 3, 8, 8)).mean()
    (torch.Size([2, 3, 8, 8]), tensor(1.))
    """

    def __init__(self, augmentation: Augmentation) -> None:
        super().__init__()
        self.augmentation = augmentation

    def forward(self, images: Shaped[Tensor, "*n c h w"], *others: Any, keys: Int64[Tensor, "*n"] | None = None) -> Any:
        """The images, or a tuple of them and the other arguments if there are any."""
        made = self.augmentation(images, keys=keys) if self.training else self._passed(images)
        return (made, *others) if others else made

    def _passed(self, images: Shaped[Tensor, "*n c h w"]) -> Shaped[Tensor, "*n c h w"]:
        dtype, _ = result(self.augmentation, images.dtype)
        if dtype.is_floating_point and images.dtype == torch.uint8:
            images = unit(images)
        return images.to(dtype)

    def extra_repr(self) -> str:
        return repr(self.augmentation)
