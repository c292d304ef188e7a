"""How many examples are normalized together, from 2 to the whole batch, judged in three ways."""

from dataclasses import dataclass

from .. import norm
from .experiment import Cell, Claim, Exceeds, Experiment, Job, Rows, Scale
from .nets import cnn
from .tasks import RESNET, Course, Task, noisy_digits, of_data
from .training import error, error_by_batch, trained

TRAIN, BATCH, POPULATION = "training set, batch", "validation, batch", "validation, population"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Normalization batch sizes, and how to train with each of them."""

    sizes: tuple[int, ...]
    course: Course
    population: int = 1_280
    method: str = "layerwise"


SMOKE = Plan(sizes=(2, 16, 256), course=Course(epochs=12, batch=256, lr=0.8))
SMALL = Plan(sizes=(2, 4, 8, 16, 32, 64, 128, 256, 512, 1024), course=Course(epochs=100, batch=1024, lr=0.8))
PAPER = Plan(sizes=SMALL.sizes, course=RESNET, population=10_000, method="joint")


def compare(task: Task, plan: Plan, job: Job) -> Rows:
    """A network for each size."""
    rows: Rows = {}
    batch = plan.course.batch
    for size in plan.sizes:
        policy = norm.ghost(size) if size < batch else norm.batch_norm()
        model = trained(task.model(policy), task.feed(batch), plan.course.sgd(task))
        row = rows[str(size)] = {
            TRAIN: error_by_batch(model, task.judged(batch, train=True)),
            BATCH: error_by_batch(model, task.judged(batch)),
        }
        norm.precise(model, task.population(plan.population, 250), method=plan.method)
        row[POPULATION] = error(model, task.judged(500))
        job.say(f"NBS {size}: " + ", ".join(f"{name} {value:.1f} %" for name, value in row.items()))
    return rows


def run(job: Job) -> Rows:
    """One seed."""
    plan = job.pick(smoke=SMOKE, small=SMALL, paper=PAPER)
    if job.scale is Scale.PAPER:
        return compare(of_data(job, "resnet-20"), plan, job)
    return compare(noisy_digits(job, lambda: cnn(8 if job.scale is Scale.SMOKE else 16, 10)), plan, job)


def claims(scale: Scale) -> tuple[Claim, ...]:
    """Small batches are noise in training; what the paper finds besides is asked too, and answered no."""
    largest = {Scale.SMOKE: "256"}.get(scale, "1024")
    noise: tuple[Claim, ...] = (
        Exceeds("Small normalization batches are noise in training", Cell("2", TRAIN), Cell(largest, TRAIN), by=1.0),
    )
    if scale is Scale.SMOKE:
        return noise
    return (
        *noise,
        Exceeds("The smallest generalizes worse than a middle one", Cell("2", POPULATION), Cell("32", POPULATION)),
        Exceeds("The largest does too", Cell(largest, POPULATION), Cell("32", POPULATION)),
        Exceeds(
            "With the smallest, population statistics are worse than those of batches (inconsistency)",
            Cell("2", POPULATION), Cell("2", BATCH), paired=True,
        ),
    )  # fmt: skip


EXPERIMENT = Experiment(
    name="rethinking.figure5",
    title="Normalization batch size (NBS), by three evaluations",
    source="Wu and Johnson, Rethinking 'Batch' in BatchNorm, 2021, section 4.1, figure 5",
    claim="Training error falls with the normalization batch size, because the noise does; validation error is least "
    "in the middle (32 to 128), and for very small ones population statistics no longer fit what the network learned.",
    run=run,
    claims=claims,
    axis="normalization batch size",
    remark="Here: digits in noise, four convolutions, ghosts of a batch of 1,024 (256 at scale smoke), strided. Only "
    "the first part shows: population statistics are the better ones at every size here, also in residual networks "
    "and perceptrons on digits of random contrast. That a network comes to rely on its batch takes batches that say "
    "something about the answer: see rethinking.table6 and rethinking.figure8. The paper's curves are not in its text.",
    paper="resnet-20, batches of 1,024, NBS 2 to 1,024, 100 epochs each; ten trainings a seed",
)
