"""The batch size with which precise statistics are measured, on trained networks."""

from dataclasses import dataclass, replace

from .. import norm
from .experiment import Cell, Claim, Exceeds, Experiment, Job, Near, Published, Rows, Scale
from .nets import mlp
from .tasks import RESNET, Course, Task, noisy_digits, of_data
from .training import error, trained


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Normalization batch sizes (ghosts) of the networks, how to train them, and how to measure."""

    sizes: tuple[int, ...]
    course: Course
    population: int
    batches: tuple[int, ...] = (2, 4, 10, 100)
    exact: bool = True  # layer by layer keeps all activations of a layer: not for large images


SMOKE = Plan(sizes=(8,), course=Course(epochs=16, batch=256, lr=0.8), population=200, batches=(2, 100))
SMALL = Plan(sizes=(8, 32), course=Course(epochs=20, batch=256, lr=0.8), population=1_280)
PAPER = Plan(
    sizes=(2, 32), course=replace(RESNET, batch=256, lr=0.2), population=10_000, batches=(2, 10, 100, 1_000),
    exact=False,
)  # fmt: skip


def column(size: int) -> str:
    """A measure: the errors of one network."""
    return f"trained with NBS {size}"


def compare(task: Task, plan: Plan, job: Job) -> Rows:
    """Test error by the moving average and by precise statistics, for each network."""
    rows: Rows = {}
    test, course = task.judged(500), plan.course
    for size in plan.sizes:
        model = trained(task.model(norm.ghost(size)), task.feed(course.batch), course.sgd(task))
        rows.setdefault("EMA", {})[column(size)] = error(model, test)
        for batch in (*plan.batches, plan.population):
            report = norm.precise(model, task.population(plan.population, batch))
            name = f"B = {batch}" if batch < plan.population else "B = N"
            rows.setdefault(name, {})[column(size)] = error(model, test)
            report.undo()
            job.say(f"{column(size)}, {name}: {rows[name][column(size)]:.1f} %")
        if plan.exact:
            norm.precise(model, task.population(plan.population, 250), method="layerwise")
            rows.setdefault("layer by layer", {})[column(size)] = error(model, test)
    return rows


def run(job: Job) -> Rows:
    """One seed."""
    plan = job.pick(smoke=SMOKE, small=SMALL, paper=PAPER)
    if job.scale is Scale.PAPER:
        return compare(of_data(job, "resnet-20"), plan, job)
    return compare(noisy_digits(job, lambda: mlp(64, 128, 8, 10)), plan, job)


def claims(scale: Scale) -> tuple[Claim, ...]:
    """Tiny batches mislead, a hundred are as good as all."""
    few, *many = {Scale.SMOKE: SMOKE, Scale.SMALL: SMALL, Scale.PAPER: PAPER}[scale].sizes

    def near(text: str, size: int) -> Claim:
        return Near(text, Cell("B = 100", column(size)), Cell("B = N", column(size)), within=1.0, paired=True)

    return (
        Exceeds("B = 2 is not enough", Cell("B = 2", column(few)), Cell("B = N", column(few)), by=1.0, paired=True),
        near("B = 100 is", few),
        *(near(f"So it is for NBS {size}", size) for size in many),
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
