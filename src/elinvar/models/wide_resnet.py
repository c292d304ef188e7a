"""Pre-activation residual networks: Wide ResNets, and the ResNet-18 of the mixing experiments.

    x -> BN -> ReLU -> conv 3x3 (stride) -> BN -> ReLU -> dropout -> conv 3x3 -> + shortcut(x)

Where width or size change, the shortcut is a 1x1 convolution of the activated input, otherwise x itself.

Source   He et al., "Identity mappings in deep residual networks", ECCV 2016; Zagoruyko and Komodakis, "Wide residual
         networks", BMVC 2016; the details as in google-research/augmix, third_party/WideResNet_pytorch.
Differs  the global average pool takes images of any size; the reference pools 8x8 and needs 32x32 images. Both end
         with BN and ReLU; the reference code of the mixing experiments (ResNet-18) leaves those two out.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from ..check import InputError
from .layers import conv1x1, conv3x3, init_convolutions


class PreActivationBlock(nn.Module):
    """Two convolutions, each behind BN and ReLU, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = conv3x3(inputs, outputs, stride=stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.conv2 = conv3x3(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else conv1x1(inputs, outputs, stride=stride)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        active = self.relu1(self.bn1(x))
        hidden = self.relu2(self.bn2(self.conv1(active)))
        if self.dropout is not None:
            hidden = self.dropout(hidden)
        branch: Tensor = self.conv2(hidden)
        return branch + (x if self.shortcut is None else self.shortcut(active))


class PreActivationResNet(nn.Module):
    """Stages of `PreActivationBlock` on standardized images, then BN, ReLU, global average pool and a linear layer.

    stem      channels of the first convolution
    widths    channels of each stage; every stage after the first halves height and width
    blocks    blocks of each stage
    dropout   probability, between the two convolutions of every block

    Convolutions start as He normal, fan-out; the linear bias at 0.
    """

    def __init__(
        self,
        *,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        classes: int = 10,
        in_channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not widths or len(widths) != len(blocks) or min(*widths, *blocks, stem, classes, in_channels) < 1:
            raise InputError(
                f"widths and blocks need one positive number for each stage, got {tuple(widths)} and {tuple(blocks)}; "
                f"stem ({stem}), classes ({classes}) and in_channels ({in_channels}) must be positive too"
            )
        if not 0 <= dropout < 1:
            raise InputError(f"dropout: got {dropout}, expected a probability in [0, 1)")
        self.classes = classes
        self.conv1 = conv3x3(in_channels, stem)
        stages, inputs = [], stem
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            strides = [1 if number == 0 else 2] + [1] * (count - 1)
            ends = zip([inputs] + [width] * (count - 1), strides, strict=True)
            stages.append(nn.Sequential(*(PreActivationBlock(i, width, stride=s, dropout=dropout) for i, s in ends)))
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)
        init_convolutions(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        x = self.relu(self.bn(self.stages(self.conv1(x))))
        logits: Tensor = self.fc(self.pool(x).flatten(1))
        return logits


class WideResNet(PreActivationResNet):
    """WRN-depth-widen: three stages of (depth - 4) / 6 blocks with 16, 32 and 64 times `widen` channels.

    depth   10, 16, 22, 28, ...: 6n + 4
    widen   factor on the channels, at least 1

    Raises `InputError` for another depth, with the nearest ones that exist.

    >>> sum(p.numel() for p in WideResNet(40, 2).parameters())
    2243546
    """

    def __init__(
        self, depth: int, widen: int, *, classes: int = 10, in_channels: int = 3, dropout: float = 0.0
    ) -> None:
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1 or widen < 1:
            below = max(10, depth - rest)
            raise InputError(
                f"a Wide ResNet has depth 6n + 4 and a positive widen factor, got {depth} and {widen}; "
                f"the nearest depths are {below} and {below + 6}"
            )
        super().__init__(
            stem=16,
            widths=(16 * widen, 32 * widen, 64 * widen),
            blocks=(blocks,) * 3,
            classes=classes,
            in_channels=in_channels,
            dropout=dropout,
        )
