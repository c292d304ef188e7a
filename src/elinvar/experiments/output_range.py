"""How far normalized values go, in training and at test, against what they can."""

import math

from .. import norm
from .experiment import AtMost, Cell, Claim, Exceeds, Experiment, Job, Published, Rows, Scale
from .nets import cnn
from .ranges import output_ranges
from .tasks import Task, noisy_digits, of_data
from .training import Sgd, error, trained

BOUND, TRAINING, TEST = "bound", "training", "test"


def compare(task: Task, sizes: tuple[int, ...], batch: int, sgd: Sgd, job: Job) -> Rows:
    """Extent of the last normalization layer's values for each ghost size; a row for each number of values N."""
    rows: Rows = {}
    for size in sizes:
        model = task.model(norm.ghost(size) if size < batch else norm.batch_norm())
        with output_ranges(model) as ranges:
            trained(model, task.feed(batch), sgd)
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
    if job.scale is Scale.PAPER:
        task = of_data(job, "resnet-18")
        per = task.steps(1, 128)
        sgd = Sgd(lr=0.1, steps=100 * per, weight_decay=5e-4)
        return compare(task, (2, 4, 8, 16, 32, 64, 128), 128, sgd, job)
    task = noisy_digits(job, lambda: cnn(job.pick(smoke=8, small=16, paper=16), 10))
    sgd = Sgd(lr=0.8, steps=task.steps(job.pick(smoke=10, small=40, paper=0), 256))
    return compare(task, job.pick(smoke=(2, 256), small=(2, 4, 8, 16, 32, 64, 128, 256), paper=()), 256, sgd, job)


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
    title="Largest normalized value of the last layer",
    source="Summers, Understanding and improving deep learning, 2021, section 4.3.1 and appendix A.1, figure A.1",
    claim="A value that is normalized together with N - 1 others is at most sqrt(N - 1); training comes near the "
    "bound where N is small, and at test, where moving averages normalize, values go beyond.",
    run=run,
    claims=claims,
    unit="largest |normalized value|, before gamma and beta",
    decimals=2,
    axis="log2 of the number N of values that are normalized together",
    published=Published(
        where="CIFAR-10, last layer, 4x4 maps, least value of either sign in training (in the text)",
        numbers={"5": {BOUND: 5.57, TRAINING: 5.30}},
    ),
    remark="Here: digits in noise, last layer with 2x2 maps, so N = 4 times the ghost size.",
    paper="cifar10:DIR, resnet-18 (last maps 4x4), batches of 128 in ghosts of 2 to 128, 100 epochs each",
)
