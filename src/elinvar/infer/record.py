"""Judge a model and keep what was found in a folder: the parts, the predictions, the evaluation."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..data import DataSet, Split
from .attacked import AttackPlan
from .evaluation import Evaluation, warn_of_lost
from .identity import few_logits, model_identity, same_logits, settings
from .images import CorruptedImages
from .judge import DEFAULT, judge
from .observer import Observer
from .parts import Parts
from .predict import Predictor
from .sequences import PerturbedImages

EVALUATION = "evaluation.json"
FINGERPRINT = "fingerprint"


def record(
    predictor: Predictor,
    data: DataSet,
    folder: Path,
    *,
    name: str,
    seed: int | None = None,
    about: Mapping[str, Any] | None = None,
    suites: Sequence[str] = DEFAULT,
    observer: Observer | None = None,
    images: CorruptedImages | None = None,
    sequences: PerturbedImages | None = None,
    attacks: AttackPlan | None = None,
    fresh: bool = False,
) -> Evaluation:
    """Judge a model on the test split of `data` and write what was found into `folder`.

    name, seed   of what made the model: evaluations of one name are repetitions of each other
    about        further facts for the report
    fresh        predict everything anew, also what an earlier evaluation of the same model left in the folder

    Writes evaluation.json, predictions.safetensors (clean logits and targets) and a file for each corruption and each
    attack below evaluation/. The same call after an interruption goes on with the first of them whose file is missing,
    and its numbers are those of an evaluation in one go. Raises as `judge`; warns of logits that are not finite.
    """
    verdict = judge(
        predictor, data.test, suites=suites, observer=observer, images=images, sequences=sequences,
        attacks=attacks, parts=kept(predictor, data.test, folder, about or {}, fresh=fresh),
    )  # fmt: skip
    found = Evaluation(
        recipe=name,
        data=data.name,
        seed=seed,
        suites=list(suites),
        clean=verdict.clean,
        shift=verdict.shift,
        extra=verdict.extra,
        calibration=verdict.calibration,
        stability=verdict.stability,
        spectrum=verdict.spectrum,
        attacks=verdict.attacks,
        not_finite=verdict.not_finite,
        about={**(about or {}), FINGERPRINT: data.fingerprint()},
    )
    found.save(folder / EVALUATION)
    warn_of_lost(name if seed is None else f"{name}, seed {seed}", found.not_finite)
    return found


def kept(predictor: Predictor, split: Split, folder: Path, about: Mapping[str, Any], *, fresh: bool = False) -> Parts:
    """The parts of an evaluation of this model on `split` in `folder`, found by what `record` is or was told about it.

    They count while the model says about a few images what it said then.
    """
    facts = {key: value for key, value in about.items() if key != FINGERPRINT}
    told = json.dumps(facts, sort_keys=True, default=str)  # options need not show in the model itself
    before = list(settings(predictor.judged))
    anew = few_logits(predictor, split) if len(split) else None
    steady = set(before) & set(settings(predictor.judged))  # others count something while the model predicts
    identity = model_identity(predictor.judged, predictor.infer, predictor.compute, sorted(steady))
    found = Parts(folder, identity=f"{identity} {told}", fresh=fresh)
    if anew is not None:
        found.confirm({"of": split.fingerprint()}, anew, partial(same_logits, dtype=predictor.compute.dtype))
    return found
