"""The batch size with which precise statistics are measured, on trained networks."""

from dataclasses import dataclass

from .. import norm
from .experiment import Cell, Claim, Exceeds, Experiment, Job, Near, Published, Rows, Scale
from .nets import mlp
from .tasks import Task, noisy_digits, of_data
from .training import Sgd, error, trained


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Normalization batch sizes (ghosts) of the two networks, how to train them, and how to measure."""

    sizes: tuple[int, int]
    epochs: int
    lr: float
    population: int
    batches: tuple[int, ...] = (2, 4, 10, 100)
    batch: int = 256
    weight_decay: float = 0.0
    warmup: int = 0
    exact: bool = True  # layer by layer keeps all activations of a layer: not for large images


SMOKE = Plan(sizes=(8, 32), epochs=16, lr=0.8, population=640)
SMALL = Plan(sizes=(8, 32), epochs=20, lr=0.8, population=1_280)
PAPER = Plan(
    sizes=(2, 32), epochs=100, lr=0.2, population=10_000, batches=(2, 10, 100, 1_000), weight_decay=1e-4, warmup=5,
    exact=False,
)  # fmt: skip


def columns(plan: Plan) -> tuple[str, str]:
    """Names of the measures."""
    first, second = plan.sizes
    return f"trained with NBS {first}", f"trained with NBS {second}"


def compare(task: Task, plan: Plan, job: Job) -> Rows:
    """Test error by the moving average and by precise statistics, for each network."""
    per = task.steps(1, plan.batch)
    sgd = Sgd(
        lr=plan.lr, steps=plan.epochs * per, weight_decay=plan.weight_decay, warmup=plan.warmup * per
    )  # fmt: skip
    rows: Rows = {}
    test = task.judged(500)
    for size, column in zip(plan.sizes, columns(plan), strict=True):
        model = trained(task.model(norm.ghost(size)), task.feed(plan.batch), sgd)
        rows.setdefault("EMA", {})[column] = error(model, test)
        for batch in (*plan.batches, plan.population):
            report = norm.precise(model, task.population(plan.population, batch))
            name = f"B = {batch}" if batch < plan.population else "B = N"
            rows.setdefault(name, {})[column] = error(model, test)
            report.undo()
            job.say(f"{column}, {name}: {rows[name][column]:.1f} %")
        if plan.exact:
            norm.precise(model, task.population(plan.population, 250), method="layerwise")
            rows.setdefault("layer by layer", {})[column] = error(model, test)
    return rows


def run(job: Job) -> Rows:
    """One seed."""
    plan = job.pick(smoke=SMOKE, small=SMALL, paper=PAPER)
    if job.scale is Scale.PAPER:
        return compare(of_data(job, "resnet-20"), plan, job)
    return compare(noisy_digits(job, lambda: mlp(64, 128, 8, 10)), plan, job)


def claims(scale: Scale) -> tuple[Claim, ...]:
    """Tiny batches mislead, a hundred are as good as all."""
    few, many = columns(PAPER if scale is Scale.PAPER else SMALL)
    return (
        Exceeds("B = 2 is not enough", Cell("B = 2", few), Cell("B = N", few), by=1.0, paired=True),
        Near("B = 100 is", Cell("B = 100", few), Cell("B = N", few), within=1.0, paired=True),
        Near("For the other network too", Cell("B = 100", many), Cell("B = N", many), within=1.0, paired=True),
    )


EXPERIMENT = Experiment(
    name="rethinking.table2",
    title="Batch size B of precise statistics",
    source="Wu and Johnson, Rethinking 'Batch' in BatchNorm, 2021, section 3.4, table 2",
    claim="Precise statistics need batches that are large enough, whatever batches the network was trained with.",
    run=run,
    claims=claims,
    unit="test error, %",
    published=Published(
        where="ImageNet, ResNet-50, N = 10^4; validation error, %",
        numbers={
            "EMA": {"trained with NBS 2": 35.5},
            "B = 2": {"trained with NBS 2": 34.4},
            "B = 10": {"trained with NBS 2": 32.3},
            "B = 100": {"trained with NBS 2": 32.0, "trained with NBS 32": 23.5},
            "B = 1000": {"trained with NBS 2": 32.0, "trained with NBS 32": 23.5},
            "B = N": {"trained with NBS 2": 32.0, "trained with NBS 32": 23.5},
        },
    ),
    remark="Here: digits in noise and a perceptron of eight hidden layers, where B = 2 does far more harm than to a "
    "convolutional network, whose layers see many positions of each image; one with four layers shows none of it. NBS "
    "8 stands for the paper's 2, with which a perceptron does not train. The moving average is as good as B = 100 "
    "here, because training ends at a learning rate of zero.",
    paper="resnet-20, batches of 256, NBS 2 and 32, 100 epochs, N = 10,000",
)
