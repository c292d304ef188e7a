"""Rows of a table are repetitions of one thing: whatever differs besides the seed makes a row of its own, and is named.

Tried: another optimizer, epochs, model, model options, training data of the same name, number format, training that is
not at its end, evaluations of other weights, runs that keep no facts; other test images are refused.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from elinvar.check import InputError
from elinvar.report import RunResult, headline, verdict
from elinvar.report.grouping import by_recipe

Make = Callable[..., RunResult]


def about(result: RunResult, **facts: Any) -> RunResult:
    return replace(result, evaluation=replace(result.evaluation, about={**result.evaluation.about, **facts}))


def manifest(result: RunResult, part: str, **facts: Any) -> RunResult:
    return replace(result, manifest={**result.manifest, part: {**result.manifest[part], **facts}})


def recipe(result: RunResult, old: str, new: str) -> RunResult:
    assert old in result.recipe_yaml
    return replace(result, recipe_yaml=result.recipe_yaml.replace(old, new))


CHANGES: dict[str, tuple[Callable[[RunResult], RunResult], str]] = {
    "optimizer": (lambda run: recipe(run, "batch_size: 128", "batch_size: 64"), "standard (train.batch_size=64)"),
    "epochs": (lambda run: recipe(run, "epochs: 30", "epochs: 5"), "standard (train.epochs=5)"),
    "model": (lambda run: recipe(run, "wrn-40-2", "wrn-16-1"), "standard (model.name=wrn-16-1)"),
    "options": (lambda run: replace(run, recipe_yaml=run.recipe_yaml + "  options: {dropout: 0.3}\n"),
                "standard (model.options.dropout=0.3)"),
    "data": (lambda run: manifest(run, "data", fingerprint="abcdef01" * 8), "standard (trained on=cifar10 abcdef01)"),
    "own model": (lambda run: manifest(run, "model", parameters=7), "standard (parameters=7)"),
    "number format": (lambda run: manifest(run, "compute", dtype="float32"), "standard (dtype=float32)"),
    "unfinished": (lambda run: about(run, epochs="3 of 30"), "standard (3 of 30 epochs)"),
    "weights": (lambda run: about(run, weights="SHA-256 1234"), "standard (evaluation weights=SHA-256 1234)"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_differs_is_a_row_of_its_own(change: str, make: Make) -> None:
    alter, label = CHANGES[change]
    runs = [make("standard", 0), make("standard", 1), alter(make("standard", 2)), alter(make("standard", 3))]
    groups = by_recipe(runs)
    assert [len(group) for group in groups.values()] == [2, 2]
    assert list(groups)[1] == label
    assert label in str([str(row) for row in headline(runs).rows])
    assert any(label in sentence for sentence in verdict(runs))


def test_the_same_seed_twice_is_refused_only_for_the_same_thing(make: Make) -> None:
    other = recipe(make("standard", 0), "batch_size: 128", "batch_size: 64")
    assert len(by_recipe([make("standard", 0), other])) == 2
    with pytest.raises(InputError, match="given twice"):
        by_recipe([make("standard", 0), make("standard", 0)])
    shuffled = manifest(make("standard", 0), "data")
    shuffled = replace(shuffled, manifest={**shuffled.manifest, "seeds": {"base": 0, "shuffle": 7}})
    assert [len(group) for group in by_recipe([make("standard", 0), shuffled]).values()] == [2]


def test_many_differences_are_counted_and_two_rows_never_share_a_label(make: Make) -> None:
    def altered(number: int) -> RunResult:
        lines = "".join(f"  setting{place}: {number if place == 9 else 1}\n" for place in range(10))
        return replace(make("standard", number), recipe_yaml=make("standard", 0).recipe_yaml + lines)

    groups = by_recipe([make("standard", 5), altered(1), altered(2)])
    assert len(groups) == 3
    assert all("7 more differ" in label for label in groups)


def test_an_unfinished_run_says_so_alone_too(make: Make) -> None:
    run = about(make("augmix", 0), epochs="36 of 40")
    assert list(by_recipe([run])) == ["augmix (36 of 40 epochs)"]
    assert "augmix (36 of 40 epochs) has a" in verdict([run])[0]


def test_runs_without_facts_are_repetitions_by_name(make: Make) -> None:
    runs = [replace(make("a", seed), manifest={}, recipe_yaml="") for seed in range(2)]
    assert list(by_recipe(runs)) == ["a"]


def test_other_test_images_are_refused(make: Make) -> None:
    january, june = (about(make("standard", seed), fingerprint=f"{seed}" * 64) for seed in range(2))
    with pytest.raises(InputError, match=r"different images .*SHA-256 000000000000.*SHA-256 111111111111"):
        by_recipe([january, june])


def test_a_comparison_of_recipes_says_what_else_differs(make: Make) -> None:
    plain = [make("standard", seed) for seed in range(2)]
    other = [recipe(make("augmix", seed), "wrn-40-2", "wrn-16-1") for seed in range(2)]
    sentence = "These rows differ in more than the recipe: model (standard: wrn-40-2; augmix: wrn-16-1)."
    assert sentence in verdict([*plain, *other])
    assert sentence in headline([*plain, *other]).notes
    same = [make("augmix", seed) for seed in range(2)]
    assert not any("more than the recipe" in sentence for sentence in verdict([*plain, *same]))
