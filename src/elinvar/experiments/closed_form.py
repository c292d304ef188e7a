"""How much variance the next layer seems to have when statistics are measured on batches of B: a closed form."""

import torch
from torch import Tensor, nn

from .. import norm
from ..rng import Seeds, Source
from .experiment import Cell, Claim, Exceeds, Experiment, Job, Near, Rows, Scale

MEASURED, FORMULA, EXACT = "measured", "3 / (B + 1)", "layer by layer"
SIZES = (2, 4, 10, 40, 100)


class Square(nn.Module):
    """x * x."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


def missing(values: Tensor, batch: int, *, method: str) -> float:
    """Percentage of the second layer's variance (2 for Gaussian values) that measuring in batches does not see.

    values  (examples, channels) independent standard Gaussians
    """
    channels = values.shape[1]
    layers = nn.Sequential(nn.BatchNorm1d(channels, affine=False, eps=1e-12), Square(), nn.BatchNorm1d(channels))
    model = norm.convert(layers, norm.batch_norm()).to(values.device)
    norm.precise(model, torch.split(values, batch), method=method)
    last = model[2]
    assert isinstance(last, norm.Norm)
    assert last.running_var is not None
    return 100.0 * (1.0 - last.running_var.mean().item() / 2.0)


def run(job: Job) -> Rows:
    """One seed: many channels at once, each with its own examples."""
    examples, channels = job.pick(smoke=(400, 8_000), small=(4_000, 4_000), paper=(4_000, 4_000))
    generator = Seeds(job.seed).generator(Source.CORRUPT, "gaussian")
    values = torch.randn(examples, channels, generator=generator).to(job.device)
    exact = missing(values, examples, method="layerwise")
    rows = {}
    for size in SIZES:
        rows[str(size)] = {
            MEASURED: missing(values, size, method="joint"),
            FORMULA: 300.0 / (size + 1),
            EXACT: exact,
        }
        job.say(f"B = {size}: {rows[str(size)][MEASURED]:.2f} %")
    return rows


def claims(scale: Scale) -> tuple[Claim, ...]:
    """Measured equals derived, for every B."""
    return (
        *(
            Near(f"With B = {size} the formula holds", Cell(str(size), MEASURED), Cell(str(size), FORMULA), within=1.0)
            for size in SIZES
        ),
        Exceeds("Layer by layer misses less than batches of 100", Cell("100", MEASURED), Cell("100", EXACT), by=1.0),
    )


EXPERIMENT = Experiment(
    name="precise.batch_size",
    title="Variance of the next layer that batches of B do not see",
    source="Derived here, for Wu and Johnson, Rethinking 'Batch' in BatchNorm, 2021, section 3.4 and appendix A.2",
    claim="Precise statistics from batches of B are exact in the first layer only: behind it activations were "
    "normalized by B values, which are never as extreme as a population's. For Gaussian values and a square between "
    "two layers, E[x^4] = 3 (B - 1) / (B + 1) instead of 3, so that the second layer's variance lacks 3 / (B + 1).",
    run=run,
    claims=claims,
    unit="missing variance, %",
    decimals=2,
    axis="batch size B",
    remark="B of 100 or more is enough for most purposes; norm.precise(method='layerwise') is exact for any B.",
    absent="the closed form needs no data; the paper's own table is rethinking.table2",
)
