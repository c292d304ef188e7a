"""An experiment over several seeds; each finished seed is kept in a file, so that an interrupted series goes on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from .. import __version__
from ..check import InputError
from ..files import write_text
from .experiment import Cell, Experiment, Job, Rows, Scale


@dataclass(frozen=True)
class Series:
    """The tables of several seeds of one experiment.

    Raises `InputError` for no seeds, and where tables differ in their settings or measures.
    """

    experiment: Experiment
    scale: Scale
    data: str | None
    seeds: dict[int, Rows]

    def __post_init__(self) -> None:
        if not self.seeds:
            raise InputError("a series needs at least one seed")
        first, *others = ({setting: list(row) for setting, row in rows.items()} for rows in self.seeds.values())
        if any(other != first or list(other) != list(first) for other in others):
            raise InputError(f"{self.experiment.name}: the seeds {list(self.seeds)} differ in settings or measures")

    @property
    def rows(self) -> Rows:
        """The table of the first seed."""
        return next(iter(self.seeds.values()))

    @property
    def measures(self) -> tuple[str, ...]:
        """Every column, in the order of first appearance."""
        return tuple(dict.fromkeys(measure for row in self.rows.values() for measure in row))

    def values(self, cell: Cell) -> list[float]:
        """One number for each seed; raises `InputError` for a place that the table does not have."""
        if cell.measure not in self.rows.get(cell.setting, {}):
            known = {setting: list(row) for setting, row in self.rows.items()}
            raise InputError(f"{self.experiment.name} has no {str(cell)!r}; it has {known}")
        return [rows[cell.setting][cell.measure] for rows in self.seeds.values()]


def collect(
    experiment: Experiment,
    scale: Scale,
    out: Path,
    *,
    seeds: int,
    data: str | None = None,
    device: torch.device | None = None,
    say: Callable[[str], None] | None = None,
) -> Series:
    """Run seeds 0 to seeds - 1 that `out` does not hold yet, and return all of them.

    A finished seed is out/seed-K.json, written as a whole or not at all. Raises `InputError` for a setting that the
    experiment does not have, and for a file in `out` of another experiment, scale, data or version.
    """
    if seeds < 1:
        raise InputError(f"seeds: got {seeds}, expected at least 1")
    experiment.check(scale, data)
    tell = say or (lambda line: None)
    about = {"experiment": experiment.name, "scale": scale.value, "data": data, "elinvar": __version__}
    found = {}
    for seed in range(seeds):
        path = out / f"seed-{seed}.json"
        if not path.exists():
            tell(f"{experiment.name}: seed {seed}, {seed + 1} of {seeds}")
            job = Job(scale=scale, seed=seed, device=device or torch.device("cpu"), data=data, say=tell)
            start = perf_counter()
            with torch.random.fork_rng(devices=[]):
                rows = experiment.run(job)
            seconds = round(perf_counter() - start, 1)
            write_text(path, json.dumps({**about, "seed": seed, "seconds": seconds, "rows": rows}, indent=1) + "\n")
        found[seed] = _read(path, {**about, "seed": seed})
    return Series(experiment, scale, data, found)


def _read(path: Path, about: dict[str, Any]) -> Rows:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        said = {key: held[key] for key in about}
        rows: Rows = {
            str(setting): {str(measure): float(value) for measure, value in row.items()}
            for setting, row in held["rows"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} is not a finished seed ({type(error).__name__}); delete it to run it again"
        ) from error
    other = [f"{key} {said[key]!r} instead of {value!r}" for key, value in about.items() if said[key] != value]
    if other:
        raise InputError(f"{path} is of another series ({', '.join(other)}); choose another --out, or delete it")
    return rows
