"""What the runs say, in one or two plain sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from .content import more_than_recipes
from .grouping import by_recipe
from .result import ATTACK_ERROR, CLEAN_ERROR, CORRUPTION_ERROR, Groups, Measure, RunResult
from .statistics import Difference, Summary, difference


@dataclass(frozen=True)
class Contrast:
    """The difference between two recipes, by the measure that the report is about."""

    first: str
    second: str
    difference: Difference

    @property
    def sentence(self) -> str:
        return self.difference.words(self.first, self.second)


def main_measure(groups: Groups) -> Measure:
    """Mean corruption error if every recipe has it; where none has it error under attack, if every one has that one;
    else clean error.
    """
    if all(CORRUPTION_ERROR.values(runs) for runs in groups.values()):
        return CORRUPTION_ERROR
    shifted = any(CORRUPTION_ERROR.values(runs) for runs in groups.values())
    attacked = all(ATTACK_ERROR.values(runs) for runs in groups.values())
    return ATTACK_ERROR if attacked and not shifted else CLEAN_ERROR


def contrast(groups: Groups) -> Contrast | None:
    """The difference, if there are exactly two recipes with two runs or more each.

    With more recipes one would look at many differences and call the largest real; none is stated.
    """
    if len(groups) != 2:
        return None
    measure = main_measure(groups)
    first, second = groups
    found = difference(measure.values(groups[first]), measure.values(groups[second]))
    return None if found is None else Contrast(first, second, found)


def verdict(results: Sequence[RunResult]) -> tuple[str, ...]:
    """What was compared, who is better and by how much, with n; one or two sentences, and one more about what differs
    besides the recipe, and about masked gradients.

    Raises `InputError` as `by_recipe` does.
    """
    groups = by_recipe(results)
    return (*_compared(groups), *more_than_recipes(groups), *_masked(results))


def _masked(results: Sequence[RunResult]) -> list[str]:
    """A caution, if attacks cannot be believed."""
    attacked = [run.evaluation.attacks for run in results if run.evaluation.attacks is not None]
    doubtful = sum(bool(attacks.warnings) for attacks in attacked)
    if not doubtful:
        return []
    which = "The" if len(attacked) == 1 else f"{doubtful} of {len(attacked)}"
    return [
        f"{which} attacked model{'s' * (len(attacked) > 1)} may hide gradients: what attacks found there proves no "
        "robustness."
    ]


def _compared(groups: Groups) -> tuple[str, ...]:
    measure = main_measure(groups)
    found = {name: Summary.of(measure.values(runs)) for name, runs in groups.items()}
    called = "error" if measure is ATTACK_ERROR else measure.name  # "under attack" stands before it
    said = {name: f"{summary.text(measure.decimals)} % (n={summary.n})" for name, summary in found.items()}
    shifted = measure is CORRUPTION_ERROR
    where = "Under shift" if shifted else "Under attack" if measure is ATTACK_ERROR else "On clean images"
    untested = () if shifted else (f"{_missing(groups)} judged under shift, so nothing is said about it.",)

    if len(groups) == 1:
        (name,) = groups
        return f"{name} has a {measure.name} of {said[name]}; there is nothing to compare it with.", *untested

    better, next_best, *_ = sorted(found, key=lambda name: found[name].mean)
    if len(groups) > 2:
        return (
            f"{where} {better} has the lowest {called} of {len(groups)} recipes, {said[better]}; "
            f"next is {next_best} with {said[next_best]}.",
            *(untested or ("Between more than two recipes no interval is given: a rank may be chance.",)),
        )
    told = contrast(groups)
    against = f"{called} {said[better]} against {said[next_best]}"
    if told is not None and told.difference.real:
        return f"{where} {better} is better than {next_best}: {against}.", f"{told.sentence}.", *untested
    names = " and ".join(groups)
    both = f"{called} " + " and ".join(said[name] for name in groups)
    if told is not None:
        interval = told.difference.interval(told.first, told.second)
        return f"{where} {names} cannot be told apart: {both}.", f"{interval}.", *untested
    return (
        f"{where} {better} comes out lower than {next_best}: {against}.",
        "That may be chance: two runs of each recipe or more are needed to tell.",
        *untested,
    )


def _missing(groups: Groups) -> str:
    without = [name for name, runs in groups.items() if not CORRUPTION_ERROR.values(runs)]
    return "Nothing was" if len(without) == len(groups) else f"No run of {' or '.join(without)} was"
