"""What a run is, besides its name and seeds: runs are repetitions of each other only if nothing else differs.

Two runs of one recipe's name may have another optimizer, other epochs, data or model. They become rows of their own,
and their labels say the leaves that differ.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import yaml

from .result import RunResult, printable

LONGEST = 3  # differing leaves in a label
ABSENT = "none"
NO_CONTENT = ("fingerprint", "inference", "epochs")  # facts about an evaluation that do not tell recipes apart
Leaves = Mapping[str, str]


def labels(results: Sequence[RunResult]) -> list[str]:
    """The label of each result's row: its name, whether it was trained to the end, and what tells it from namesakes."""
    contents = [content(result) for result in results]
    found = []
    for result, own in zip(results, contents, strict=True):
        name = printable(result.name)
        namesakes = [other for of, other in zip(results, contents, strict=True) if printable(of.name) == name]
        told = [*_unfinished(result), *_differing(own, namesakes)]
        found.append(f"{name} ({', '.join(told)})" if told else name)
    return found


def content(result: RunResult) -> Leaves:
    """Leaf -> value, of everything that makes a run besides its seeds."""
    recipe = _flat("", _recipe(result))
    recipe.pop("name", None)
    made, about = result.manifest, result.evaluation.about
    data = _entry(made, "data")
    facts = {
        "trained on": f"{data['name']} {str(data.get('fingerprint'))[:8]}" if "name" in data else None,
        "parameters": _entry(made, "model").get("parameters"),
        "dtype": _entry(made, "compute").get("dtype"),
        **{f"evaluation {key}": value for key, value in about.items() if key not in NO_CONTENT},
    }
    return recipe | {key: printable(str(value)) for key, value in facts.items() if value is not None}


def more_than_recipes(groups: Mapping[str, Sequence[RunResult]]) -> list[str]:
    """A sentence where rows of several recipes differ in model, training data, epochs or number format too."""
    trained = {name: runs for name, runs in groups.items() if all(run.recipe_yaml for run in runs)}
    if len({run.name for runs in trained.values() for run in runs}) < 2:
        return []
    facts = {name: _circumstances(runs[0]) for name, runs in trained.items()}
    told = [
        f"{key} ({'; '.join(f'{name}: {of[key]}' for name, of in facts.items())})"
        for key in next(iter(facts.values()))
        if len({of[key] for of in facts.values()}) > 1
    ]
    return [f"These rows differ in more than the recipe: {', '.join(told)}."] if told else []


def _circumstances(run: RunResult) -> dict[str, str]:
    recipe, data = _recipe(run), _entry(run.manifest, "data")
    model, train = _entry(recipe, "model"), _entry(recipe, "train")
    options = _entry(model, "options")
    return {
        "model": " ".join([str(model.get("name", ABSENT)), *(f"{key}={value}" for key, value in options.items())]),
        "training data": f"{data.get('name', ABSENT)} {str(data.get('fingerprint', ''))[:8]}".strip(),
        "epochs": str(run.evaluation.about.get("epochs") or train.get("epochs", ABSENT)),
        "number format": str(_entry(run.manifest, "compute").get("dtype", ABSENT)),
    }


def _unfinished(result: RunResult) -> list[str]:
    epochs = result.evaluation.about.get("epochs")
    return [f"{epochs} epochs"] if isinstance(epochs, str) else []


def _differing(own: Leaves, namesakes: Sequence[Leaves]) -> list[str]:
    keys = sorted({key for other in namesakes for key in other})
    differing = [key for key in keys if len({other.get(key) for other in namesakes}) > 1]
    told = [f"{key}={own.get(key, ABSENT)}" for key in differing[:LONGEST]]
    if len(differing) > LONGEST:
        rest = repr([own.get(key) for key in differing[LONGEST:]])
        told.append(f"{len(differing) - LONGEST} more differ, {sha256(rest.encode()).hexdigest()[:6]}")
    return told


def _entry(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = of.get(key)
    return found if isinstance(found, Mapping) else {}


def _recipe(result: RunResult) -> Mapping[str, Any]:
    return _parsed(result.recipe_yaml)


@cache  # every table of a report asks for the same few texts
def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {"recipe": text}
    return found if isinstance(found, Mapping) else {}


def _flat(path: str, value: Any) -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        below = (_flat(f"{path}.{key}" if path else str(key), item) for key, item in value.items())
        return {leaf: text for part in below for leaf, text in part.items()}
    return {path: printable(str(value))} if path else {}
