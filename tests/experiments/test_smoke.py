"""Every experiment runs at scale smoke, and every effect that it claims there points the right way.

Each claim held in every single one of seeds 0 to 9 when this was written; here it is asked of one in their middle.
"""

import math

import pytest

from elinvar.check import InputError
from elinvar.experiments import EXPERIMENTS, AtMost, Exceeds, Job, Scale, Series, experiment


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_claims_hold_at_scale_smoke(name: str) -> None:
    said: list[str] = []
    of = experiment(name)
    rows = of.run(Job(scale=Scale.SMOKE, seed=5, say=said.append))
    series = Series(of, Scale.SMOKE, None, {5: rows})
    assert said
    assert all(math.isfinite(value) for row in rows.values() for value in row.values())
    assert set(of.drawn or series.measures) <= set(series.measures)
    claims = of.claims(Scale.SMOKE)
    assert claims
    for claim in claims:
        (first,) = series.values(claim.first)
        if isinstance(claim, AtMost):
            (limit,) = [claim.limit] if isinstance(claim.limit, float) else series.values(claim.limit)
            assert first <= limit, claim.text
            continue
        (second,) = series.values(claim.second)
        if isinstance(claim, Exceeds):
            assert first - second > claim.by, claim.text
        else:
            assert abs(first - second) < claim.within, claim.text


def test_the_same_seed_gives_the_same_numbers_and_another_one_does_not() -> None:
    run = experiment("rethinking.table4").run
    first, again, other = (run(Job(scale=Scale.SMOKE, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_what_it_is(name: str) -> None:
    of = experiment(name)
    assert of.name == name
    assert len(of.title) <= 90
    assert of.source.endswith(tuple("0123456789ABCDEF."))
    assert of.claim.endswith(".")
    for scale in Scale:
        if scale is Scale.PAPER and of.absent:
            continue
        texts = [claim.text for claim in of.claims(scale)]
        assert texts
        assert len(set(texts)) == len(texts)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean 'rethinking.figure3'"):
        experiment("rethinking.figure33")
