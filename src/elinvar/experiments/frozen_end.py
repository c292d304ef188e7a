"""Population statistics that are frozen for the last epochs, so that the network can still adapt to them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from .. import norm
from ..rng import Seeds, Source
from .experiment import Cell, Claim, Exceeds, Experiment, Job, Published, Rows, Scale
from .nets import cnn
from .regions import IMAGES, REGIONS, Regions
from .tasks import RESNET, Course, Task, noisy_digits, of_data
from .training import Pair, Sgd, error, error_by_batch, training

BATCH, POPULATION, FROZEN = "batch statistics", "population", "population, frozen for the last fifth"
SHARE = 0.8  # of the steps before freezing


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One kind of network and data, told apart from how it is trained.

    model   a fresh network, with the same weights every time
    feed    endless training batches, the same every time
    own     test batches by whose statistics the network may be judged
    """

    model: Callable[[], nn.Module]
    feed: Callable[[], Iterator[Pair]]
    population: Callable[[], Iterable[Tensor]]
    test: list[Pair]
    own: list[Pair]
    sgd: Sgd
    method: str = "layerwise"


def three(of: Setting) -> dict[str, float]:
    """Errors without and with frozen statistics at the end."""
    row = {}
    for frozen in (False, True):
        model = of.model()
        for step in training(model, of.feed(), of.sgd):
            if frozen and step == int(SHARE * of.sgd.steps):
                norm.precise(model, of.population(), method=of.method)
                norm.freeze(model)
        if frozen:
            row[FROZEN] = error(model, of.test)
        else:
            row[BATCH] = error_by_batch(model, of.own)
            norm.precise(model, of.population(), method=of.method)
            row[POPULATION] = error(model, of.test)
    return row


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Ghost sizes for images and how to train on them; for regions the width of the head, steps and test images."""

    sizes: tuple[int, ...]
    course: Course
    population: int = 1_280
    method: str = "layerwise"
    regions: tuple[int, int, int] | None = None


SMOKE = Plan(sizes=(2,), course=Course(epochs=10, batch=256, lr=0.8), regions=(64, 250, 200))
SMALL = Plan(sizes=(2, 16, 256), course=Course(epochs=30, batch=256, lr=0.8), regions=(128, 600, 500))
PAPER = Plan(sizes=(2, 16, 1024), course=RESNET, population=10_000, method="joint")


def of_images(task: Task, size: int, plan: Plan) -> Setting:
    """Images in ghosts of `size`."""
    batch = plan.course.batch
    policy = norm.ghost(size) if size < batch else norm.batch_norm()
    return Setting(
        model=lambda: task.model(policy), feed=lambda: task.feed(batch), sgd=plan.course.sgd(task), method=plan.method,
        population=lambda: task.population(plan.population, 250), test=task.judged(500), own=task.judged(batch),
    )  # fmt: skip


def of_regions(job: Job, width: int, steps: int, tests: int) -> Setting:
    """Regions, normalized image by image."""
    seeds = Seeds(job.seed)

    def fresh(name: str) -> Regions:
        classes = Regions.draw(seeds.generator(Source.SHUFFLE, "regions"))
        return Regions(classes.classes, classes.nuisances, seeds.generator(Source.SHUFFLE, name))

    source = fresh("test")
    test = [source.images(1) for _ in range(tests)]
    policy = norm.ghost(REGIONS, "blocks")

    def population() -> list[Tensor]:
        source = fresh("population")
        return [source.images(IMAGES)[0] for _ in range(25)]

    return Setting(
        model=lambda: fresh("model").head(width, policy, seeds), feed=lambda: fresh("train").endless(),
        population=population, test=test, own=test, sgd=Sgd(lr=0.05, steps=steps),
    )  # fmt: skip


def run(job: Job) -> Rows:
    """One seed."""
    plan = job.pick(smoke=SMOKE, small=SMALL, paper=PAPER)
    rows: Rows = {}
    if plan.regions is not None:
        rows["regions, image by image"] = three(of_regions(job, *plan.regions))
    if job.scale is Scale.PAPER:
        name, task = "images", of_data(job, "resnet-20")
    else:
        name, task = "digits", noisy_digits(job, lambda: cnn(8 if job.scale is Scale.SMOKE else 16, 10))
    for size in plan.sizes:
        row = rows[f"{name}, NBS {size}"] = three(of_images(task, size, plan))
        job.say(f"NBS {size}: " + ", ".join(f"{measure} {value:.1f} %" for measure, value in row.items()))
    return rows


def claims(scale: Scale) -> tuple[Claim, ...]:
    """Freezing helps where the network relied on its batch."""
    settings = {Scale.SMOKE: ("regions, image by image",), Scale.PAPER: ("images, NBS 2",)}
    return tuple(
        Exceeds(f"Frozen at the end, {setting} gain", Cell(setting, POPULATION), Cell(setting, FROZEN), paired=True)
        for setting in settings.get(scale, ("regions, image by image", "digits, NBS 2"))
    )


EXPERIMENT = Experiment(
    name="rethinking.figure6",
    title="Statistics frozen for the last fifth of training",
    source="Wu and Johnson, Rethinking 'Batch' in BatchNorm, 2021, section 4.3, figure 6",
    claim="With small normalization batches a network that trains its last epochs behind frozen population statistics "
    "is much better by them than one that meets them at test only; with large batches it is slightly worse.",
    run=run,
    claims=claims,
    unit="test error, %",
    published=Published(
        where="ImageNet, ResNet-50, total batch 1024, NBS 2, last 20 of 100 epochs frozen; validation error, % (the "
        "first as the text gives it: another 6.5 points below the second)",
        numbers={"images, NBS 2": {BATCH: 25.5, POPULATION: 32.0, FROZEN: 25.2}},
    ),
    remark="Here: the regions of rethinking.table6, where networks rely on their batch and freezing repairs part of "
    "it, and digits in noise, where they do not (rethinking.figure5) and nothing is to be gained. Precise statistics "
    "are frozen, gamma and beta with them; the paper says neither.",
    paper="resnet-20, batches of 1,024, NBS 2, 16 and 1,024, 100 epochs",
)
