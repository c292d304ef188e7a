"""An experiment whose numbers are known."""

from dataclasses import replace

from elinvar.experiments import Cell, Exceeds, Experiment, Job, Published, Rows, Scale, Series

VALUES = {0: (10.0, 4.0), 1: (12.0, 5.0), 2: (11.0, 4.5)}


def run(job: Job) -> Rows:
    """A setting that is high and one that is low."""
    high, low = VALUES[job.seed]
    return {"high": {"error": high, "other": 1.0}, "low": {"error": low, "other": 1.0}}


EXPERIMENT = Experiment(
    name="sample.table1",
    title="Two settings",
    source="Nobody, Nowhere, 2000",
    claim="High is higher than low.",
    run=run,
    claims=lambda scale: (Exceeds("High is higher", Cell("high", "error"), Cell("low", "error")),),
    published=Published(where="elsewhere", numbers={"high": {"error": 3.25}, "low": {}}),
    remark="Only a sample.",
    paper="a data set",
)


def series(seeds: int = 3, **changes: object) -> Series:
    """The first seeds of the sample, or of a changed one."""
    of = replace(EXPERIMENT, **changes)  # type: ignore[arg-type]
    return Series(of, Scale.SMALL, None, {seed: run(Job(scale=Scale.SMALL, seed=seed)) for seed in range(seeds)})
