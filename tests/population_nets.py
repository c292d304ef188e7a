"""Small networks with everything that a measurement must cope with, and an independent float64 reference."""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Gamma, beta and memory that are not what a fresh layer has."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                for tensor in (module.weight, module.running_var):
                    if tensor is not None:
                        tensor.uniform_(0.5, 1.5, generator=generator)
                for tensor in (module.bias, module.running_mean):
                    if tensor is not None:
                        tensor.normal_(0.0, 0.5, generator=generator)
    return model


class Mixed(nn.Module):
    """Residual and in-place sums, a downsampling branch, concatenation, a head for training only, BN after flatten."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(12)
        self.down = nn.Sequential(nn.Conv2d(8, 12, 1, stride=2, bias=False), nn.BatchNorm2d(12))
        self.left = nn.Sequential(nn.Conv2d(12, 5, 1), nn.BatchNorm2d(5), nn.ReLU())
        self.right = nn.Sequential(nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 4, 3, padding=1))
        self.aux = nn.Sequential(nn.Conv2d(9, 2, 1), nn.BatchNorm2d(2))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(9 * 16, 10)
        self.last = nn.BatchNorm1d(10)
        self.out = nn.Linear(10, 4)
        shaken(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.relu_(self.bn1(self.conv1(x)))
        y += x
        z = self.bn2(self.conv2(y))
        z += self.down(y)
        z = torch.cat([self.left(z), self.right(z)], 1)
        if self.training:
            z = z + self.aux(z).mean()
        out: Tensor = self.out(self.last(self.fc(self.drop(z).flatten(1))))
        return out


def mixed() -> Any:
    """Untyped, so that its attributes may be layers of any kind."""
    return Mixed()


class Volumes(nn.Module):
    """BN3d, and BN1d over a length."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.net = nn.Sequential(
            nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten(2), nn.Conv1d(4, 3, 2), nn.BatchNorm1d(3)
        )
        shaken(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


def images(count: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *(shape or (3, 8, 8)), generator=torch.Generator().manual_seed(seed)) * 2 + 1


def parts(x: Tensor, size: int) -> list[Tensor]:
    return list(torch.split(x, size))


def memory_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}


def population(
    model: nn.Module, x: Tensor, run: Callable[[nn.Module, Tensor], Any] = lambda m, x: m(x)
) -> dict[str, Tensor]:
    """Mean and biased variance of each layer's input, of all of `x` in one float64 batch; dropout off, no aux head."""
    model = copy.deepcopy(model).double().eval()
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = True

            def hook(_: nn.Module, args: tuple[Tensor], name: str = name) -> None:
                flat = args[0].transpose(0, 1).flatten(1)
                found[f"{name}.running_mean"] = flat.mean(1)
                found[f"{name}.running_var"] = flat.var(1, correction=0)

            module.register_forward_pre_hook(hook)
    with torch.no_grad():
        run(model, x.double())
    return found


def worst(model: nn.Module, expected: dict[str, Tensor]) -> float:
    """The largest error of a mean in sigma, or of a variance relative to itself."""
    errors = []
    for name, value in expected.items():
        scale = expected[name.replace("mean", "var")]
        got = model.get_buffer(name).double()
        errors.append(((got - value).abs() / (scale.sqrt() if name.endswith("mean") else scale)).max().item())
    return max(errors)
