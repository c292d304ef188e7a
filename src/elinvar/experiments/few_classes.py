"""Batches of few classes: batch normalization, its renormalization, ghosts and groups, and example weighting."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import norm
from ..data import grouped_order, stratified_order
from ..norm import NormPolicy
from ..rng import Seeds, Source
from .experiment import Cell, Claim, Exceeds, Experiment, Job, Published, Rows, Scale
from .nets import mlp
from .tasks import Task, of_data
from .training import Pair, Sgd, error, trained

CLASSES, EACH = 4, 32  # of a batch
PLAIN, TUNED, ALPHA = "as trained", "alpha tuned", "alpha"
IID, BN, RENORM, GROUP = "BatchNorm, i.i.d. batches", "BatchNorm", "Batch Renorm", "batch-group, 2 examples"
CONTROL_IID, CONTROL = "GroupNorm, i.i.d. batches", "GroupNorm"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train, with which ghost sizes, and with how many channel groups (0: without that row)."""

    ghosts: tuple[int, ...]
    groups: int
    steps: int
    lr: float
    weight_decay: float = 0.0
    repeat_examples: bool = False


SMOKE = Plan(ghosts=(), groups=0, steps=300, lr=0.05, repeat_examples=True)
SMALL = Plan(ghosts=(64, 32, 16, 8, 4, 2), groups=8, steps=1_500, lr=0.05, repeat_examples=True)
PAPER = Plan(ghosts=(64, 32, 16, 8, 4, 2), groups=16, steps=200 * 312, lr=0.1, weight_decay=5e-4)


def held_out(task: Task, share: float) -> tuple[Task, list[Pair]]:
    """The task with a part of its training images put aside for validation, classes in proportion."""
    order = stratified_order(task.targets.cpu(), task.seeds.key(Source.SHUFFLE, "validation"))
    some, rest = (part.to(task.targets.device) for part in order.tensor_split([int(share * len(order))]))
    smaller = replace(task, images=task.images[rest], targets=task.targets[rest], still=task.still[rest])
    return smaller, list(zip(torch.split(task.still[some], 500), torch.split(task.targets[some], 500), strict=True))


def clusters(job: Job, width: int, *, classes: int = 100, each: int = 40, noise: float = 1.5) -> Task:
    """Few examples of each of many Gaussian clusters, so near to each other that one in five cannot be told."""
    seeds = Seeds(job.seed)
    generator = seeds.generator(Source.CORRUPT, "clusters")
    centres = torch.randn(classes, 32, generator=generator)

    def draw(count: int) -> Pair:
        y = torch.arange(classes).repeat_interleave(count)
        return (centres[y] + noise * torch.randn(len(y), 32, generator=generator)).to(job.device), y.to(job.device)

    (x, y), test = draw(each), draw(20)
    return Task(x, y, x, test, lambda: mlp(32, width, 3, classes), lambda images, index, key: images, seeds)


def policies(plan: Plan) -> dict[str, NormPolicy]:
    """A row each; renormalization's schedule is scaled.

    As in the thesis, memories are moving averages of x and of x^2 with a decay of 0.99, and ghosts are blocks.
    """
    moments = NormPolicy(memory=norm.MomentEma(0.01))
    renorm = norm.Renorm(start=plan.steps // 8, r_end=plan.steps, d_end=plan.steps * 5 // 8)
    found = {IID: moments, BN: moments, RENORM: NormPolicy(memory=renorm)}
    found |= {f"ghosts of {size}": norm.ghost(size, "blocks") | moments for size in plan.ghosts}
    if not plan.groups:
        return found
    alone = norm.group_norm(plan.groups)
    return found | {GROUP: norm.batch_group(plan.groups, 2, "blocks") | moments, CONTROL_IID: alone, CONTROL: alone}


def compare(task: Task, validation: list[Pair], plan: Plan, job: Job) -> Rows:
    """A network for each policy; alpha is chosen on validation data."""
    batch = CLASSES * EACH
    targets = task.targets.cpu()

    def grouped() -> Iterator[Tensor]:
        for round_ in range(-(-plan.steps // 100)):
            key = task.seeds.key(Source.SHUFFLE, "classes", round_)
            yield grouped_order(
                targets, key, batches=100, classes=CLASSES, each=EACH, repeat_examples=plan.repeat_examples
            )

    rows: Rows = {}
    sgd = Sgd(lr=plan.lr, steps=plan.steps, weight_decay=plan.weight_decay)
    for name, policy in policies(plan).items():
        feed = task.feed(batch) if name in (IID, CONTROL_IID) else task.ordered(grouped(), batch)
        model = trained(task.model(policy), feed, sgd)
        rows[name] = {PLAIN: error(model, task.judged(500))}
        job.say(f"{name}: {rows[name][PLAIN]:.1f} %")
        if not policy.memory.remembers:
            continue
        alpha = norm.tune(model, validation, refine=False, exact=True).best.alpha or 0.0
        rows[name] |= {TUNED: error(model, task.judged(500)), ALPHA: alpha}
        job.say(f"{name}, alpha {alpha:g}: {rows[name][TUNED]:.1f} %")
    return rows


def run(job: Job) -> Rows:
    """One seed."""
    plan = job.pick(smoke=SMOKE, small=SMALL, paper=PAPER)
    task = (
        of_data(job, "resnet-18")
        if job.scale is Scale.PAPER
        else clusters(job, job.pick(smoke=128, small=256, paper=0))
    )
    share = 0.2 if job.scale is Scale.PAPER else 0.5
    return compare(*held_out(task, share), plan, job)


def claims(scale: Scale) -> tuple[Claim, ...]:
    """BatchNorm suffers, and each remedy helps. So short a run as smoke's suffers from such batches by any layer."""
    remedies = (RENORM,) if scale is Scale.SMOKE else (RENORM, "ghosts of 4", GROUP)
    helps = tuple(Exceeds(f"{name} is better", Cell(BN, PLAIN), Cell(name, PLAIN)) for name in remedies)
    if scale is Scale.SMOKE:
        return helps
    return (
        Exceeds("BatchNorm suffers from batches of few classes", Cell(BN, PLAIN), Cell(IID, PLAIN), by=2.0),
        *helps,
        Exceeds("GroupNorm, which sees no batch, suffers less", Cell(BN, PLAIN), Cell(CONTROL, PLAIN)),
        Exceeds("BatchNorm with alpha is better", Cell(BN, PLAIN), Cell(BN, TUNED), paired=True),
    )


EXPERIMENT = Experiment(
    name="thesis.table4.1",
    title="Batches of 4 classes, 32 examples of each",
    source="Summers, Understanding and improving deep learning, 2021, section 4.4.4, table 4.1",
    claim="With batches that are not drawn independently BatchNorm loses half of its accuracy; small ghosts, "
    "batch-group normalization, renormalization and, without training, example weighting regain much or all of it.",
    run=run,
    claims=claims,
    unit="test error, %",
    drawn=(PLAIN, TUNED),
    published=Published(
        where="CIFAR-100, ResNet-18; test error, % (100 - accuracy); i.i.d. is batch-group with i.i.d. batches",
        numbers={
            "batch-group, i.i.d. batches": {TUNED: 23.8},
            BN: {PLAIN: 59.9, TUNED: 37.8},
            RENORM: {PLAIN: 31.0, TUNED: 31.0},
            "ghosts of 64": {PLAIN: 57.7, TUNED: 49.2},
            "ghosts of 32": {PLAIN: 42.2, TUNED: 29.1},
            "ghosts of 16": {PLAIN: 35.7, TUNED: 27.8},
            "ghosts of 8": {PLAIN: 31.3, TUNED: 28.0},
            "ghosts of 4": {PLAIN: 29.6, TUNED: 28.5},
            "ghosts of 2": {PLAIN: 31.6, TUNED: 28.6},
            GROUP: {PLAIN: 24.8, TUNED: 23.9},
        },
    ),
    remark="Here: a perceptron on 100 Gaussian clusters, 20 training and 20 validation examples of each, drawn with "
    "replacement; batches in random order, so that blocks are random ghosts. GroupNorm is not in the thesis: it shows "
    "which part of the loss such batches cost by their gradients alone, most of it at scale smoke. Renorm's schedule "
    "is scaled to the length of the run.",
    paper="cifar100:DIR, resnet-18, batches of 128, 200 epochs of 40,000 images, 10,000 to choose alpha. Optimizer, "
    "schedule and number of channel groups (16 here) are not in the thesis; distinct examples, in random order",
)
