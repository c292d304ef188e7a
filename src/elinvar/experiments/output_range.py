"""How far normalized values go, in training and at test, against what they can."""

import math
from dataclasses import dataclass

from .. import norm
from .experiment import AtMost, Cell, Claim, Exceeds, Experiment, Job, Published, Rows, Scale
from .nets import cnn
from .ranges import output_ranges
from .tasks import Course, Task, noisy_digits, of_data
from .training import error, trained

BOUND, TRAINING, TEST = "bound", "training", "test"


@dataclass(frozen=True)
class Plan:
    """Ghost sizes, how to train with each of them, and the weight of a batch in the moving averages."""

    sizes: tuple[int, ...]
    course: Course
    momentum: float = 0.1


SMOKE = Plan((2, 256), Course(epochs=10, batch=256, lr=0.8))
SMALL = Plan((2, 4, 8, 16, 32, 64, 128, 256), Course(epochs=40, batch=256, lr=0.8))
PAPER = Plan(SMALL.sizes[:-1], Course(epochs=100, batch=128, lr=0.1, weight_decay=5e-4), momentum=0.01)


def compare(task: Task, plan: Plan, job: Job) -> Rows:
    """Extent of the last normalization layer's values for each ghost size; a row for each number of values N.

    As in the thesis, memories are moving averages of x and of x^2, and ghosts are blocks.
    """
    rows: Rows = {}
    batch, moments = plan.course.batch, norm.NormPolicy(memory=norm.MomentEma(plan.momentum))
    for size in plan.sizes:
        model = task.model(norm.ghost(size, "blocks") | moments if size < batch else moments)
        with output_ranges(model) as ranges:
            trained(model, task.feed(batch), plan.course.sgd(task))
        last = list(ranges)[-1]
        with output_ranges(model) as at_test:
            error(model, task.judged(500))
        bound = ranges[last].bound
        name = f"{math.log2(bound**2 + 1):.3g}"
        rows[name] = {BOUND: bound, TRAINING: ranges[last].extent, TEST: at_test[last].extent}
        job.say(f"N = 2^{name}: " + ", ".join(f"{measure} {value:.2f}" for measure, value in rows[name].items()))
    return rows


def run(job: Job) -> Rows:
    """One seed."""
    plan = job.pick(smoke=SMOKE, small=SMALL, paper=PAPER)
    if job.scale is Scale.PAPER:
        return compare(of_data(job, "preact-resnet-18"), plan, job)
    return compare(noisy_digits(job, lambda: cnn(8 if job.scale is Scale.SMOKE else 16, 10)), plan, job)


def claims(scale: Scale) -> tuple[Claim, ...]:
    """The bound holds in training; at test it does not, where it is tight."""
    numbers = {Scale.SMOKE: (3, 10), Scale.SMALL: range(3, 11), Scale.PAPER: range(5, 12)}[scale]
    first = str(numbers[0])
    return (
        *(
            AtMost(f"In training values of 2^{n} stay below the bound", Cell(str(n), TRAINING), Cell(str(n), BOUND))
            for n in numbers
        ),
        Exceeds(
            "At test the smallest groups' values do not",
            Cell(first, TEST), Cell(first, BOUND), by=0.1, paired=True,
        ),
    )  # fmt: skip


EXPERIMENT = Experiment(
    name="thesis.figureA.1",
    title="Largest value of the last layer, N normalized together",
    source="Summers, Understanding and improving deep learning, 2021, section 4.3.1 and appendix A.1, figure A.1",
    claim="A value that is normalized together with N - 1 others is at most sqrt(N - 1); training comes near the "
    "bound where N is small, and at test, where moving averages normalize, values go beyond.",
    run=run,
    claims=claims,
    unit="largest |normalized value|, before gamma and beta",
    decimals=2,
    axis="log2 N",
    published=Published(
        where="CIFAR-10, last layer, 4x4 maps, least value of either sign in training (in the text)",
        numbers={"5": {BOUND: 5.57, TRAINING: 5.30}},
    ),
    remark="Here: digits in noise, last layer with 2x2 maps, so N = 4 times the ghost size; moving averages "
    "with a decay of 0.9 in place of 0.99, which so few steps would leave half way.",
    paper="cifar10:DIR, preact-resnet-18 (last maps 4x4), batches of 128 in ghosts of 2 to 128, 100 epochs each",
)
