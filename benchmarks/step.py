"""What a step costs beside the forward and backward of its model.

    python benchmarks/step.py --model wrn-16-2 --rounds 15

Measures, in turns: (a) a whole step of the recipe, from the stored data set to updated weights; (b) forward and
backward alone, of the same network with torch's own BatchNorm, on views that are already there, from logits' sum;
(c) (a)'s preparation alone. Prints medians and the overhead (a - b) / b.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from elinvar import data, norm
from elinvar.config import override
from elinvar.context import Context
from elinvar.precision import Compute
from elinvar.recipes import recipe
from elinvar.rng import Seeds
from elinvar.train import Step, build_model
from elinvar.train.manifest import hardware
from elinvar.views import Batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="augmix")
    parser.add_argument("--model", default="wrn-16-2")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    chosen = override(recipe(options.recipe), [f"model.name={options.model}"])
    images, seeds = data.load(options.data), Seeds(0)
    compute = Compute.choose(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    model = compute.place(build_model(chosen, images, seeds))
    step = Step(model, chosen.train, chosen.train.optimizer.build(model), seeds, compute)
    bare = norm.restore(compute.place(build_model(chosen, images, seeds))).train()
    forward = compute.forward(bare)
    order = torch.arange(options.batch)

    def load() -> Batch:
        return next(iter(images.train.batches(order, options.batch, device=compute.device)))

    context = Context(seeds, 0, model, step.forward)
    ready = chosen.train.prepare(load(), context).images()

    def whole() -> None:
        step(load(), epoch=0, number=0)

    def alone() -> None:
        bare.zero_grad()
        forward(ready).sum().backward()  # type: ignore[no-untyped-call]

    def prepare() -> None:
        chosen.train.prepare(load(), context).images()

    def seconds(work: Callable[[], None]) -> float:
        began = time.perf_counter()
        work()
        if compute.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    times: dict[str, list[float]] = {"whole step": [], "forward and backward": [], "preparation": []}
    for round_ in range(options.rounds + 2):
        for name, work in zip(times, (whole, alone, prepare), strict=True):
            taken = seconds(work)
            if round_ >= 2:  # the first two compile and allocate
                times[name].append(taken)
    middle = {name: statistics.median(values) for name, values in times.items()}
    print(hardware(), f"torch {torch.__version__}", f"{chosen.name}, {options.model}, batch {options.batch}")
    for name, values in times.items():
        spread = (max(values) - min(values)) / middle[name]
        print(f"{name:<22}{1000 * middle[name]:9.1f} ms   spread {spread:.2f}   n={len(values)}")
    base = middle["forward and backward"]
    print(f"overhead of the step   {100 * (middle['whole step'] - base) / base:6.1f} %   (target: under 15 %)")
    print(f"preparation alone      {100 * middle['preparation'] / base:6.1f} %")
    print(f"examples/s             {options.batch / middle['whole step']:9.1f}")


if __name__ == "__main__":
    main()
