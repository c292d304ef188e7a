"""A moving average of statistics against precise ones, while training goes on."""

from dataclasses import dataclass, replace

from .. import norm
from .experiment import Cell, Claim, Exceeds, Experiment, Job, Near, Published, Rows, Scale
from .nets import cnn
from .tasks import RESNET, Course, Task, noisy_digits, of_data
from .training import error, training

PRECISE, EMAS = "precise", {0.1: "EMA, momentum 0.1", 0.01: "EMA, momentum 0.01"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train, and every how many epochs to look."""

    course: Course
    every: int = 1
    population: int = 1_000
    method: str = "layerwise"


SMOKE = Plan(course=Course(epochs=16, batch=250, lr=2.0), every=4)
SMALL = Plan(course=Course(epochs=20, batch=250, lr=2.0))
PAPER = Plan(course=replace(RESNET, batch=2048, lr=1.6), every=5, population=10_000, method="joint")


def compare(task: Task, plan: Plan, job: Job) -> Rows:
    """Test error by each memory after every `plan.every` epochs; the weights are the same for all of them."""
    rows: Rows = {}
    per, sgd = plan.course.steps(task, 1), plan.course.sgd(task)
    test, population = task.judged(500), task.population(plan.population, 250)
    for momentum, name in EMAS.items():
        model = task.model(norm.batch_norm(momentum=momentum))
        for step in training(model, task.feed(plan.course.batch), sgd):
            if step % (per * plan.every):
                continue
            row = rows.setdefault(str(step // per), {})
            row[name] = error(model, test)
            if PRECISE not in row:  # the memory does not change the weights, so once is enough
                report = norm.precise(model, population, method=plan.method)
                row[PRECISE] = error(model, test)
                report.undo()
            job.say(f"epoch {step // per}: {name} {row[name]:.1f} %, precise {row[PRECISE]:.1f} %")
    return {epoch: {name: row[name] for name in (*EMAS.values(), PRECISE)} for epoch, row in rows.items()}


def run(job: Job) -> Rows:
    """One seed."""
    plan = job.pick(smoke=SMOKE, small=SMALL, paper=PAPER)
    if job.scale is Scale.PAPER:
        return compare(of_data(job, "resnet-20"), plan, job)
    return compare(noisy_digits(job, lambda: cnn(8 if job.scale is Scale.SMOKE else 16, 10)), plan, job)


def claims(scale: Scale) -> tuple[Claim, ...]:
    """The gap is there early and gone at the end, unless the momentum is too small for so few steps."""
    early, end = {Scale.SMOKE: ("4", "16"), Scale.SMALL: ("4", "20"), Scale.PAPER: ("20", "100")}[scale]
    fast, slow, precise = ({at: Cell(at, name) for at in (early, end)} for name in (*EMAS.values(), PRECISE))
    found: tuple[Claim, ...] = (
        Exceeds("Early in training the moving average misleads", fast[early], precise[early], by=2.0, paired=True),
        Near("At the end it is as good as precise statistics", fast[end], precise[end], within=2.0, paired=True),
    )
    if scale is Scale.PAPER:
        return found
    too_slow = "A momentum too small for so few steps misleads to the end"
    return (*found, Exceeds(too_slow, slow[end], precise[end], by=5.0, paired=True))


EXPERIMENT = Experiment(
    name="rethinking.figure3",
    title="Moving average or precise statistics, during training",
    source="Wu and Johnson, Rethinking 'Batch' in BatchNorm, 2021, section 3, figures 3 and 4, table 1",
    claim="Validation by a moving average is wrong and unstable while the learning rate is large; precise statistics "
    "of the same weights are not, and both agree at the end.",
    run=run,
    claims=claims,
    unit="test error, %",
    axis="epoch",
    published=Published(
        where="Table 1, ImageNet, ResNet-50; validation error, %",
        numbers={
            "total batch 256, epoch 100": {"EMA": 23.7, "precise, N = 10^3": 23.57},
            "total batch 8192, epoch 30": {"EMA": 52.8, "precise, N = 10^3": 39.44},
            "total batch 8192, epoch 100": {"EMA": 24.0, "precise, N = 10^3": 23.77},
        },
    ),
    remark="Here: digits in noise, a network with four BatchNorm layers, 100 steps (80 at scale smoke) at a large "
    "learning rate, which stand for the large batches of the paper. Momentum 0.01, which other frameworks have as "
    "their default, is not in the paper.",
    paper="resnet-20, batches of 2,048, 100 epochs, N = 10,000; any data set of 2,048 training images or more",
)
