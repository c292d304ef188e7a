"""Series of seeds: what is kept, resumed and refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from elinvar.check import InputError
from elinvar.experiments import Cell, Experiment, Job, Near, Rows, Scale, Series, collect
from experiments.samples import EXPERIMENT, run, series


def counting(ran: list[int], fail_at: int | None = None) -> Experiment:
    def counted(job: Job) -> Rows:
        if job.seed == fail_at:
            raise KeyboardInterrupt
        ran.append(job.seed)
        return run(job)

    return replace(EXPERIMENT, run=counted)


def test_an_interrupted_series_goes_on_where_it_stopped(tmp_path: Path) -> None:
    ran: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        collect(counting(ran, fail_at=2), Scale.SMALL, tmp_path, seeds=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-0.json", "seed-1.json"]
    found = collect(counting(ran), Scale.SMALL, tmp_path, seeds=3)
    assert ran == [0, 1, 2]
    assert found.seeds == series().seeds
    assert list(found.rows) == ["high", "low"]
    assert collect(counting(ran), Scale.SMALL, tmp_path, seeds=2).seeds == {0: found.seeds[0], 1: found.seeds[1]}
    assert ran == [0, 1, 2]


def test_a_file_of_another_series_is_refused(tmp_path: Path) -> None:
    collect(EXPERIMENT, Scale.SMALL, tmp_path, seeds=1)
    with pytest.raises(InputError, match="scale 'small' instead of 'smoke'"):
        collect(EXPERIMENT, Scale.SMOKE, tmp_path, seeds=1)
    with pytest.raises(InputError, match=r"experiment 'sample\.table1' instead of 'other'"):
        collect(replace(EXPERIMENT, name="other"), Scale.SMALL, tmp_path, seeds=1)
    path = tmp_path / "seed-0.json"
    held = json.loads(path.read_text())
    for text in ("{", "[]", json.dumps({**held, "rows": {"high": 1}}), json.dumps({"seed": 0})):
        path.write_text(text)
        with pytest.raises(InputError, match=r"seed-0.json is not a finished seed"):
            collect(EXPERIMENT, Scale.SMALL, tmp_path, seeds=1)


def test_what_an_experiment_does_not_have_is_refused_before_it_runs(tmp_path: Path) -> None:
    ran: list[int] = []
    with pytest.raises(InputError, match="needs --data"):
        collect(counting(ran), Scale.PAPER, tmp_path, seeds=1)
    with pytest.raises(InputError, match="brings its own data"):
        collect(counting(ran), Scale.SMALL, tmp_path, seeds=1, data="digits")
    with pytest.raises(InputError, match="has no scale 'paper': it needs COCO"):
        collect(replace(counting(ran), paper="", absent="it needs COCO"), Scale.PAPER, tmp_path, seeds=1)
    with pytest.raises(InputError, match="seeds: got 0"):
        collect(counting(ran), Scale.SMALL, tmp_path, seeds=0)
    assert ran == []
    collect(counting(ran), Scale.PAPER, tmp_path, seeds=1, data="digits")
    assert ran == [0]


def test_an_experiment_says_what_scale_paper_is() -> None:
    for changes in ({"absent": "no"}, {"paper": ""}):
        with pytest.raises(InputError, match="say either"):
            replace(EXPERIMENT, **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="within: got 0"):
        Near("equal", Cell("high", "error"), Cell("low", "error"), within=0.0)


def test_draws_of_an_experiment_leave_torch_alone(tmp_path: Path) -> None:
    def drawing(job: Job) -> Rows:
        torch.manual_seed(job.seed)
        return {"x": {"y": torch.rand(()).item()}}

    torch.manual_seed(3)
    before = torch.get_rng_state()
    collect(replace(EXPERIMENT, run=drawing), Scale.SMALL, tmp_path, seeds=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_tables_of_all_seeds_have_one_shape() -> None:
    of = series()
    for other in ({"low": {"error": 1.0}}, {"low": of.rows["low"], "high": of.rows["high"]}):
        with pytest.raises(InputError, match="differ in settings or measures"):
            Series(EXPERIMENT, Scale.SMALL, None, {0: of.rows, 1: other})
    with pytest.raises(InputError, match="at least one seed"):
        Series(EXPERIMENT, Scale.SMALL, None, {})
    assert of.measures == ("error", "other")
    assert of.values(Cell("low", "error")) == [4.0, 5.0, 4.5]
    with pytest.raises(InputError, match="has no 'error, middle'"):
        of.values(Cell("middle", "error"))
