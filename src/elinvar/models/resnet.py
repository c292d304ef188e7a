"""Post-activation residual networks for small images: those of He et al., and the smaller ones of the thesis.

    x -> conv 3x3 (stride) -> BN -> ReLU -> conv 3x3 -> BN -> + shortcut(x) -> ReLU

They differ in depth, widths and the shortcut where a stage halves the image: rows of `table.py`.

Source   He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2 (option A); Summers,
         "Understanding and improving deep learning", 2021, chapter 5; ceciliaresearch/nondeterminism_instability.
"""

from collections.abc import Callable, Mapping, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..check import InputError, unknown
from .layers import conv1x1, conv3x3, init_convolutions


class Pad(nn.Module):
    """Every second pixel (at stride 2), and channels of zeros behind the given ones: a shortcut without weights."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added = outputs - inputs

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        x = F.avg_pool2d(x, 1, self.stride)  # picks pixels as x[:, :, ::stride, ::stride] does, into a dense tensor
        return F.pad(x, (0, 0, 0, 0, 0, self.added))


class PadNorm(Pad):
    """As `Pad`, with a batch normalization of the picked pixels before the zeros are added."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        self.norm = nn.BatchNorm2d(inputs)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        return F.pad(self.norm(F.avg_pool2d(x, 1, self.stride)), (0, 0, 0, 0, 0, self.added))


def _project(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(conv1x1(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs))


SHORTCUTS: Mapping[str, Callable[[int, int, int], nn.Module]] = {
    "pad": Pad,  # He et al.: option A
    "pad-norm": PadNorm,  # Summers
    "project": _project,  # He et al.: option B
}
"""name -> shortcut of (inputs, outputs, stride), used where width or size change"""


class Block(nn.Module):
    """Two convolutions with BN, a shortcut, and ReLU after their sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Callable[[int, int, int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride=stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else shortcut(inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        branch = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(branch + (x if self.shortcut is None else self.shortcut(x)))
        return out


class ResNet(nn.Module):
    """Stages of `Block` on standardized images, global average pool and a linear layer.

    widths       channels of each stage; every stage after the first halves height and width
    blocks       blocks of each stage; the depth is 2 * sum(blocks) + 2
    shortcut     a name of `SHORTCUTS`
    zero_gamma   start the second BN scale of every block at 0, so that each block starts as its shortcut

    Convolutions start as He normal, fan-out; the linear layer as torch starts it.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        shortcut: str,
        zero_gamma: bool = False,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if shortcut not in SHORTCUTS:
            raise unknown("shortcut", shortcut, SHORTCUTS)
        if not widths or len(widths) != len(blocks) or min(*widths, *blocks, classes, in_channels) < 1:
            raise InputError(
                f"widths and blocks need one positive number for each stage, got {tuple(widths)} and {tuple(blocks)}; "
                f"classes ({classes}) and in_channels ({in_channels}) must be positive too"
            )
        self.classes = classes
        self.conv1 = conv3x3(in_channels, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        stages, inputs = [], widths[0]
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = Block(inputs, width, 1 if number == 0 else 2, SHORTCUTS[shortcut])
            rest = [Block(width, width, 1, SHORTCUTS[shortcut]) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *rest))
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)
        init_convolutions(self)
        if zero_gamma:
            for block in self.modules():
                if isinstance(block, Block):
                    nn.init.zeros_(block.bn2.weight)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        x = self.stages(self.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(self.pool(x).flatten(1))
        return logits
