"""A mix among the layers of a model."""

from jaxtyping import Float32, Int64, Shaped
from torch import Tensor, nn

from .batch import Mix, Stream
from .center import zero_mean
from .targets import check_targets, soft


class Module(nn.Module):
    """Mixes in training mode; in evaluation mode images pass unchanged, and targets become soft.

    A method that makes zero-mean images (bcplus, vh_bcplus) has them in evaluation mode, too.
    """

    def __init__(self, mix: Mix) -> None:
        super().__init__()
        self.mix = mix

    def forward(
        self,
        images: Shaped[Tensor, "n c h w"],
        targets: Shaped[Tensor, "n *classes"],
        *,
        keys: Int64[Tensor, " n"] | None = None,
        partner: Stream | None = None,
    ) -> tuple[Shaped[Tensor, "m c h w"], Float32[Tensor, "m classes"]]:
        """As `Mix` in training mode; in evaluation mode keys and partner do not matter."""
        if self.training:
            return self.mix(images, targets, keys=keys, partner=partner)
        check_targets(targets, self.mix.classes, len(images))
        if any(method.zero_mean for method, _ in self.mix.options()):
            images = zero_mean(images)
        return images, soft(targets, self.mix.classes)

    def extra_repr(self) -> str:
        return repr(self.mix)
