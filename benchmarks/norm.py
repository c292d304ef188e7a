"""What normalization layers cost beside torch's fused ones.

    python benchmarks/norm.py --rounds 15
    python benchmarks/norm.py --resnet50        # example weighting in a whole torchvision ResNet-50, eval

Forward and backward (forward alone for inference), in turns within each round; prints the median milliseconds of
torch's layer of the same kind, and the median over rounds of each ratio to it, with the span of the middle half. Peers:
timm's split layer (two branches), and a ghost layer that cuts the batch, calls BatchNorm and concatenates. Large
tensors are kept on the heap (glibc's thresholds are raised), or page faults would drown the differences.
"""

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.routing import Routing, Trace, route
from elinvar.train.manifest import hardware

KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(1 << 28)}
SHAPES = ((128, 64, 32, 32), (32, 256, 14, 14))
Run = Callable[[], object]


class CutAndJoin(nn.Module):
    """A ghost layer as others write it."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.norm, self.size = nn.BatchNorm2d(channels), size

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(part) for part in x.split(self.size)])


def layers(channels: int) -> dict[str, dict[str, nn.Module]]:
    """Layers to train, by the torch layer that they are compared with."""
    batch: dict[str, nn.Module] = {
        "BatchNorm2d": nn.BatchNorm2d(channels),
        "plain": norm.Norm(channels),
        "ghost of 16, strided": norm.Norm(channels, norm.ghost(16)),
        "ghost of 16, blocks": norm.Norm(channels, norm.ghost(16, "blocks")),
        "split, two branches": norm.Norm(channels, norm.split()),
        "split of ghosts": norm.Norm(channels, norm.split() | norm.ghost(16)),
        "cut, BatchNorm2d, cat: 16": CutAndJoin(channels, 16),
    }
    try:
        from torch.library import Library

        library = Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from timm.layers import SplitBatchNorm2d

        batch["timm split, two branches"] = SplitBatchNorm2d(channels, num_splits=2)
    except ImportError:
        print("timm is not installed: its split layer is left out")
    group: dict[str, nn.Module] = {
        "GroupNorm(32)": nn.GroupNorm(32, channels),
        "batch-group(32)": norm.Norm(channels, norm.batch_group(32)),
        "batch-group(32, 2)": norm.Norm(channels, norm.batch_group(32, 2)),
        "group_norm(32)": norm.Norm(channels, norm.group_norm(32)),
    }
    return {"BatchNorm2d": batch, "GroupNorm(32)": group}


@contextmanager
def in_two_branches(layer: nn.Module, rows: int) -> Iterator[None]:
    if not isinstance(layer, norm.Norm) or len(layer.policy.branches) == 1:
        yield
        return
    with route(layer, Routing(layer.policy.branches, (rows // 2, rows - rows // 2)), Trace.COMMIT):
        yield


def step(layer: nn.Module, x: Tensor, gradient: Tensor) -> Run:
    def run() -> None:
        x.grad = None
        with in_two_branches(layer, len(x)):
            layer(x).backward(gradient)

    return run


def inference(layer: nn.Module, x: Tensor) -> Run:
    @torch.no_grad()
    def run() -> None:
        layer(x)

    return run


def compare(runs: dict[str, Run], base: str, rounds: int) -> None:
    for run in runs.values():
        run(), run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    repeat = 1
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(repeat):
                run()
            times[name].append((time.perf_counter() - start) / repeat)
    print(f"    {base:<28}{statistics.median(times[base]) * 1e3:8.2f} ms")
    for name, own in times.items():
        if name != base:
            ratios = sorted(a / b for a, b in zip(own, times[base], strict=True))
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"    {name:<28}{middle:8.2f} x   ({low:.2f} to {high:.2f})")


def by_layer(rounds: int) -> None:
    for shape in SHAPES:
        for last in (False, True):
            for dtype in (torch.float32, torch.bfloat16):
                memory = torch.channels_last if last else torch.contiguous_format
                print(f"\n{shape} {'channels_last' if last else 'contiguous'} {str(dtype).removeprefix('torch.')}")
                x, gradient = (torch.randn(shape).to(dtype).to(memory_format=memory) for _ in range(2))
                x.requires_grad_()
                for base, some in layers(shape[1]).items():
                    print("  forward and backward")
                    if base != "BatchNorm2d" and dtype is torch.bfloat16:
                        some[base].bfloat16()  # torch's GroupNorm wants parameters of the input's type
                    compare({name: step(layer, x, gradient) for name, layer in some.items()}, base, rounds)
                print("  inference")
                trained = nn.BatchNorm2d(shape[1]).eval()
                weighted = norm.convert(copy.deepcopy(trained), norm.example_weighted(0.1))
                runs = {"eval BatchNorm2d": inference(trained, x), "example-weighted": inference(weighted, x)}
                compare(runs, "eval BatchNorm2d", 2 * rounds)


def resnet50(rounds: int) -> None:
    from torch.library import Library

    library = Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision.models import resnet50 as build

    for dtype in (torch.float32, torch.bfloat16):
        for memory in (torch.contiguous_format, torch.channels_last):
            plain = build().eval().to(memory_format=memory)
            weighted = norm.convert(copy.deepcopy(plain), norm.example_weighted(0.1))
            x = torch.randn(16, 3, 224, 224).to(memory_format=memory)

            def forward(model: nn.Module, x: Tensor = x, dtype: torch.dtype = dtype) -> Run:
                @torch.no_grad()
                def run() -> None:
                    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
                        model(x)

                return run

            print(f"\nResNet-50, eval, 16 x 224 x 224, {memory}, {dtype}")
            compare({"as it is": forward(plain), "example-weighted": forward(weighted)}, "as it is", rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--resnet50", action="store_true")
    options = parser.parse_args()
    if any(name not in os.environ for name in KEPT):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEPT})
    print(hardware())
    (resnet50 if options.resnet50 else by_layer)(options.rounds)


if __name__ == "__main__":
    main()
