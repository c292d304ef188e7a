"""What tuning a grid of alphas costs, against one evaluation for each, and how far its curve is from theirs.

    python benchmarks/tune.py --data cifar10:DIR --model wrn-16-2 --examples 10000

Trains a network briefly, then tunes it on images that it has not seen: by `norm.tune`, and by evaluating every alpha
by itself. Both in turns, in the same process; prints ratios of wall time and of forwards, and both curves.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import data, models, norm
from elinvar.data import epoch_order
from elinvar.infer import Predictor
from elinvar.norm.tuning.losses import loss_of
from elinvar.norm.tuning.rules import GRID, inference_of
from elinvar.precision import Compute
from elinvar.recipe import Infer
from elinvar.rng import Seeds
from elinvar.train.manifest import hardware
from elinvar.views import Batch


def trained(name: str, images: data.DataSet, examples: int, steps: int, compute: Compute) -> nn.Module:
    """A network after some steps of plain training; `examples` images at the end of the split are left out."""
    made = models.build(name, classes=len(images.classes), mean=images.mean, std=images.std, seed=0)
    model = compute.place(norm.convert(made, norm.batch_norm())).train()
    forward = compute.forward(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, steps)
    n = len(images.train) - examples
    order = torch.cat([epoch_order(n, Seeds(0), epoch) for epoch in range(-(-128 * steps // n))])
    for batch in images.train.batches(order[: 128 * steps], 128, device=compute.device):
        optimizer.zero_grad()
        F.cross_entropy(forward(batch.images), batch.targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="wrn-16-2")
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--metric", default="error")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    images = data.load(options.data)
    compute = Compute.choose(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    model = trained(options.model, images, options.examples, options.steps, compute)
    layers = [layer for layer in model.modules() if isinstance(layer, norm.Norm)]
    held = torch.arange(len(images.train) - options.examples, len(images.train))

    def batches() -> Iterator[Batch]:
        return images.train.batches(held, options.batch, device=compute.device)

    def each() -> list[Tensor]:
        found = []
        for alpha in GRID:
            for layer in layers:
                layer.policy = replace(layer.policy, inference=inference_of(alpha))
            found.append(loss_of(options.metric)(*Predictor(model, Infer(), compute).batches(batches())))
        for layer in layers:
            layer.policy = replace(layer.policy, inference=norm.Remembered())
        return found

    def tuned(refine: bool, exact: bool = False) -> norm.Tuned:
        return norm.tune(
            model, batches(), metric=options.metric, compute=compute, apply=False, refine=refine, exact=exact
        )

    def timed(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        if compute.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    works: dict[str, Callable[[], object]] = {
        f"{len(GRID)} evaluations": each,
        "tune": lambda: tuned(False),
        "tune, refined": lambda: tuned(True),
        "tune, exact": lambda: tuned(False, True),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(options.rounds + 1):
        for name, work in works.items():
            taken = timed(work)
            if round_:  # the first compiles and allocates
                times[name].append(taken)
    print(hardware(), f"torch {torch.__version__}, {torch.get_num_threads()} threads", compute)
    print(
        f"{options.model}, {options.examples} examples of {images.name}, batches of {options.batch}, n={options.rounds}"
    )
    first = statistics.median(times[f"{len(GRID)} evaluations"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:<16}{middle / first:6.2f} x   spread {(max(values) - min(values)) / middle:.2f}")

    quick, losses = tuned(False), each()
    share = quick.evaluations / len(GRID)
    print(f"forwards: {quick.evaluations:.2f} of {len(GRID)} = {share:.2f}; computed everywhere: {quick.computed}")
    print(f"{'alpha':>8}{'evaluated':>12}{'tuned':>12}{'off':>10}{'said to be':>12}{'gain':>10}{'± s.e.':>10}")
    for point, loss in zip(quick.curve, losses, strict=True):
        truth, gain = float(loss.mean()), float((losses[0] - loss).mean())
        error = float((losses[0] - loss).std()) / len(loss) ** 0.5
        off = point.value - truth
        print(f"{point.alpha:8}{truth:12.5f}{point.value:12.5f}{off:+10.5f}{point.approximation:12.5f}", end="")
        print(f"{gain:+10.5f}{error:10.5f}")
    best = min(zip(GRID, losses, strict=True), key=lambda pair: float(pair[1].mean()))[0]
    print(f"best by evaluations {best}, by tuning {quick.best.alpha}")


if __name__ == "__main__":
    main()
