"""One self-contained page about some runs: no script, no network, readable on a phone, on paper and in the dark."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ..files import replacing
from .attacked import attack_tables, doubts
from .grouping import by_recipe
from .palette import PALETTE, style
from .result import Groups, RunResult, printable
from .samples import SampleSheet
from .suites import heatmap_uri, suite_tables
from .table import headline, per_corruption
from .training_chart import training_curves
from .verdict import verdict

TEMPLATE = "report.html.j2"
MANIFEST = {
    "data": "Data", "origin": "Data read from", "model": "Model", "compute": "Computed with", "hardware": "Hardware",
    "versions": "Versions", "commit": "Commit",
}  # fmt: skip
LONGEST = 8  # items of a list that are written out


@dataclass(frozen=True)
class Fact:
    """Something about how runs were made: each value it takes, and which runs have it (empty: all of them)."""

    name: str
    values: tuple[tuple[str, str], ...]


def write_report(
    path: Path, results: Sequence[RunResult], *, samples: SampleSheet | None = None, title: str = "Robustness report"
) -> None:
    """Write the page, whole or not at all; the same runs give the same bytes.

    Raises `InputError` where the runs cannot stand in one report (see `by_recipe`) or the file cannot be written.
    """
    text = _render(results, samples, title)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _render(results: Sequence[RunResult], samples: SampleSheet | None, title: str) -> str:
    from . import logit_chart, plot  # bring matplotlib, which tables do not need

    groups = by_recipe(results)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    looks = [style(place) for place in range(len(groups))]
    return template.render(
        title=printable(title),
        verdict=[_unbroken(sentence) for sentence in verdict(results)],
        scope=_scope(groups),
        headline=headline(results),
        numbers=per_corruption(results),
        legend=[(name, len(runs), look) for (name, runs), look in zip(groups.items(), looks, strict=True)],
        palette=PALETTE,
        corruptions=plot.error_per_corruption(groups),
        severity=plot.severity_curve(groups),
        severities=plot.severity_multiples(groups),
        reliability=plot.reliability_diagram(groups),
        training=training_curves(groups),
        repeated=any(len(runs) > 1 for runs in groups.values()),
        attacked=attack_tables(results),
        doubts=doubts(results),
        logits=logit_chart.logit_histograms(groups),
        suites=suite_tables(results),
        heatmaps=heatmap_uri(groups),
        samples=samples,
        facts=_facts(groups),
        commands=_by_value(groups, _entry("command")),
        recipes=_recipes(groups),
    )


def _unbroken(sentence: str) -> str:
    """A sentence whose lines do not break inside of "14.06 ± 0.61 % (n=3)"."""
    return re.sub(r"(?<=[\d±]) (?=[\d±%])|(?<=%) (?=\(n=)", "\N{NO-BREAK SPACE}", sentence)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _scope(groups: Groups) -> str:
    """What was run, in one line."""
    runs = [run for group in groups.values() for run in group]
    first = runs[0].evaluation
    recipes = f"{len(groups)} recipe{'s' * (len(groups) > 1)}, {len(runs)} run{'s' * (len(runs) > 1)}"
    subsets = _distinct(run.evaluation.shift.subset for run in runs if run.evaluation.shift is not None)
    shift = f" Shift: {subsets[0]}." if subsets else " No shift suite was run."
    settings = _distinct(run.evaluation.attacks.settings for run in runs if run.evaluation.attacks is not None)
    attacks = f" Attacks: {settings[0]}." if settings else ""
    spread = " ± is one sample standard deviation over the n runs of a recipe." if len(runs) > len(groups) else ""
    return f"{recipes}. Judged on {first.data}, {first.clean.n:,} test images.{shift}{attacks}{spread}"


def _by_value(groups: Groups, of: Callable[[RunResult], object]) -> list[tuple[str, str]]:
    """Each value in plain text and the runs that have it, or "" where all have the same. Runs without one are left out.

    Runs of one recipe are named together: "augmix (seeds 1, 2)".
    """
    found = dict[str, dict[str, list[RunResult]]]()
    for name, runs in groups.items():
        for run in runs:
            if (value := of(run)) not in (None, "", {}):
                found.setdefault(_plain(value), {}).setdefault(name, []).append(run)
    total = sum(map(len, groups.values()))
    return [
        (value, "" if len(found) == 1 and sum(map(len, where.values())) == total else _runs(where))
        for value, where in found.items()
    ]


def _runs(groups: Groups) -> str:
    return ", ".join(f"{name} ({_seeds(runs)})" for name, runs in groups.items())


def _seeds(runs: Sequence[RunResult]) -> str:
    seeds = ", ".join("unknown" if run.seed is None else str(run.seed) for run in runs)
    return f"seed{'s' * (len(runs) > 1)} {seeds}"


def _plain(value: object) -> str:
    """A value of a manifest as one line of text."""
    if isinstance(value, Mapping):
        pairs = ((key, _plain(item)) for key, item in value.items() if item not in (None, {}, []))
        return " · ".join(f"{str(key).replace('_', ' ')} {text}" for key, text in pairs)
    if isinstance(value, list | tuple):
        texts = [_plain(item) for item in value[:LONGEST]]
        rest = f", … ({len(value)} in all)" if len(value) > LONGEST else ""
        return ", ".join(texts) + rest
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def _entry(key: str) -> Callable[[RunResult], object]:
    return lambda run: run.manifest.get(key)


def _facts(groups: Groups) -> list[Fact]:
    runs = [run for group in groups.values() for run in group]
    shifts = [run.evaluation.shift for run in runs if run.evaluation.shift is not None]
    other_seeds = _by_value(groups, lambda run: {k: v for k, v in run.manifest.get("seeds", {}).items() if k != "base"})
    facts = [Fact("Runs", tuple((f"{name}: {_seeds(group)}", "") for name, group in groups.items()))]
    facts.append(Fact("Seeds of single sources", tuple(other_seeds)))
    facts.append(Fact("Judged on", ((f"{runs[0].evaluation.data}, {runs[0].evaluation.clean.n} test images", ""),)))
    if shifts:
        facts.append(Fact("Shift", ((shifts[0].subset, ""),)))
        facts.append(Fact("How corrupted images are made", ((shifts[0].generator, ""),)))
    attacked = _distinct(f"{of.settings}; {of.subset}" for run in runs if (of := run.evaluation.attacks) is not None)
    facts.append(Fact("Attacks", tuple((text, "") for text in attacked)))
    facts.append(Fact("Evaluation", tuple(_by_value(groups, lambda run: run.evaluation.about))))
    for key, name in MANIFEST.items():
        facts.append(Fact(name, tuple(_by_value(groups, _entry(key)))))
    return [fact for fact in facts if fact.values]


def _recipes(groups: Groups) -> list[tuple[str, str]]:
    """Recipe files as they are, and whose they are: one for each recipe, or more if its runs had several."""
    found = dict[tuple[str, str], list[RunResult]]()
    for name, runs in groups.items():
        for run in runs:
            if run.recipe_yaml:
                found.setdefault((name, run.recipe_yaml), []).append(run)
    alone = {name: len({text for other, text in found if other == name}) == 1 for name, _ in found}
    return [(name if alone[name] else _runs({name: runs}), text) for (name, text), runs in found.items()]
