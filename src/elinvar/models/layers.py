"""What the networks of this package share: their convolutions, how these start, and the head."""

from torch import nn


def conv3x3(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size (at stride 1), without bias: a normalization follows."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def conv1x1(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias: the shortcut where width or size change."""
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)


def init_convolutions(model: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / fan_out), fan_out = outputs * kernel area, by torch's default generator.

    Source   He et al., "Delving deep into rectifiers", ICCV 2015, section 2.2, backward form.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
