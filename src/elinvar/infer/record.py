"""Judge a model and keep what was found in a folder: the parts, the predictions, the evaluation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import DataSet
from .attacked import AttackPlan
from .evaluation import Evaluation
from .images import CorruptedImages
from .judge import DEFAULT, judge
from .observer import Observer
from .parts import Parts, model_identity
from .predict import Predictor
from .sequences import PerturbedImages

EVALUATION = "evaluation.json"
FINGERPRINT = "fingerprint"
PRECISION = "precision"


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
    and its numbers are those of an evaluation in one go. Raises as `judge`.
    """
    verdict = judge(
        predictor, data.test, suites=suites, observer=observer, images=images, sequences=sequences,
        attacks=attacks, parts=kept(predictor, folder, about or {}, fresh=fresh),
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
        about={**(about or {}), PRECISION: predictor.compute.precision, FINGERPRINT: data.fingerprint()},
    )
    found.save(folder / EVALUATION)
    return found


def kept(predictor: Predictor, folder: Path, about: Mapping[str, Any], *, fresh: bool = False) -> Parts:
    """The parts of an evaluation of this model in `folder`, found by what `record` is or was told about it."""
    facts = {key: value for key, value in about.items() if key not in (FINGERPRINT, PRECISION)}
    told = json.dumps(facts, sort_keys=True, default=str)  # options need not show in the model itself
    identity = f"{model_identity(predictor.model, predictor.infer, predictor.compute)} {told}"
    return Parts(folder, identity=identity, fresh=fresh)
