"""What population statistics cost beside plain forwards over the same examples.

    python benchmarks/precise.py                     # joint, beside a forward in train mode: resnet-18
    python benchmarks/precise.py --layerwise         # exact, beside one forward in eval mode: ResNet-50's depth

Everything runs in turns within each round; prints the median milliseconds of the plain forward, and the median over
rounds of each ratio to it, with the span of the middle half. The peer is fvcore's procedure, written anew: train mode,
momentum 1, and batches' statistics read back from the layers after each forward.
"""

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.models.table import architecture
from elinvar.train.manifest import hardware

KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(1 << 28)}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with BN after each, and a projection where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        widths = (inputs, width, width, 4 * width)
        kernels, strides = (1, 3, 1), (1, stride, 1)
        layers: list[nn.Module] = []
        for (before, after), kernel, step in zip(pairwise(widths), kernels, strides, strict=True):
            convolution = nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.branch = nn.Sequential(*layers[:-1])
        projection = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Identity() if inputs == 4 * width else nn.Sequential(*projection)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.branch(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    """The 53 convolutions and 53 BN layers of He et al.'s network for ImageNet."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, 64 << stage, 2 if stage and not block else 1))
            inputs = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


@torch.no_grad()
def forward(model: nn.Module, batches: Sequence[Tensor], *, training: bool) -> None:
    model.train(training)
    for images in batches:
        model(images)


@torch.no_grad()
def read_back(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """fvcore's `update_bn_stats`."""
    model.train()
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [layer.momentum for layer in layers]
    pooled = [(torch.zeros_like(layer.running_mean), torch.zeros_like(layer.running_var)) for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
    for images in batches:
        model(images)
        for layer, (mean, square) in zip(layers, pooled, strict=True):
            mean += layer.running_mean / len(batches)
            square += (layer.running_var + layer.running_mean.square()) / len(batches)
    for layer, momentum, (mean, square) in zip(layers, before, pooled, strict=True):
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(square - mean.square())
        layer.momentum = momentum


def compare(runs: dict[str, Callable[[], object]], rounds: int) -> None:
    """The first is what all others are compared with."""
    base = next(iter(runs))
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    print(f"    {base:<34}{statistics.median(times[base]) * 1e3:8.0f} ms")
    for name, own in times.items():
        if name != base:
            low, middle, high = statistics.quantiles((a / b for a, b in zip(own, times[base], strict=True)), n=4)
            print(f"    {name:<34}{middle:8.3f} x   ({low:.3f} to {high:.3f})")


def joint(model: nn.Module, batches: Sequence[Tensor], rounds: int) -> None:
    runs: dict[str, Callable[[], object]] = {
        "forward, train": lambda: forward(model, batches, training=True),
        "precise, joint": lambda: norm.precise(model, batches),
        "fvcore's procedure": lambda: read_back(model, batches),
    }
    compare(runs, rounds)


def layerwise(model: nn.Module, batches: Sequence[Tensor], rounds: int) -> None:
    runs: dict[str, Callable[[], object]] = {
        "forward, eval": lambda: forward(model, batches, training=False),
        "precise, layerwise": lambda: norm.precise(model, batches, method="layerwise"),
        "precise, joint": lambda: norm.precise(model, batches),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a budget that does not hold everything would be another measurement
        compare(runs, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layerwise", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=0, help="of an image; 0: 32, or 64 for --layerwise")
    options = parser.parse_args()
    if any(name not in os.environ for name in KEPT):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEPT})
    print(hardware(), f"torch {torch.__version__}")
    size = options.size or (64 if options.layerwise else 32)
    settings = architecture("resnet-18")
    model = resnet50() if options.layerwise else settings.make(**settings.settings)
    for memory in (torch.contiguous_format, torch.channels_last):
        images = torch.randn(options.examples, 3, size, size).to(memory_format=memory)
        print(f"\n{options.examples} images of {size} x {size} in batches of {options.batch}, {memory}")
        run = layerwise if options.layerwise else joint
        run(model.to(memory_format=memory), images.split(options.batch), options.rounds)


if __name__ == "__main__":
    main()
