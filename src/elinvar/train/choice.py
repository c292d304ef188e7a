"""Which branch a run is judged by, where its recipe leaves that to the examples that it held out.

Their errors stand in the log, so the choice is made once, by whoever reads it: nothing else is written.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..check import InputError
from ..recipe import Infer
from .run import Run

HELD_OUT = "held_out_error"


def candidates(infer: Infer) -> dict[str, Infer]:
    """What is judged on held-out examples: the name of its error in the log, and how to predict."""
    if not infer.best_of:
        return {HELD_OUT: infer}
    return {f"{HELD_OUT}({branch})": replace(infer, branch=branch, best_of=()) for branch in infer.best_of}


def choose(infer: Infer, row: Mapping[str, Any]) -> Infer:
    """The candidate with the smallest error in a line of the log; of several, the one that is named first."""
    if not infer.best_of:
        return infer
    found = candidates(infer)
    return found[min(found, key=row.__getitem__)]


def chosen(infer: Infer, run: Run) -> Infer:
    """How a run predicts, by the newest line of its log that looked at held-out examples.

    Raises `InputError` if there is none.
    """
    if not infer.best_of:
        return infer
    for row in reversed(run.metrics()):
        if all(name in row for name in candidates(infer)):
            return choose(infer, row)
    raise InputError(
        f"{run.path}: its log says no errors on held-out examples yet, by which one of the branches "
        f"{', '.join(infer.best_of)} is chosen; continue the run with 'elinvar train'"
    )
