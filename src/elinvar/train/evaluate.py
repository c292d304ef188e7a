"""Judge a run with the weights that it was trained to, and keep what was found beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data import DataSet
from ..data.matching import some_classes
from ..infer import DEFAULT, AttackPlan, CorruptedImages, Evaluation, Observer, PerturbedImages, Predictor, record
from ..precision import Compute
from ..recipe import Recipe
from . import checkpoint
from .choice import chosen
from .classes import require_matched
from .loop import trained_model
from .run import Run


def evaluate(
    run: Run,
    recipe: Recipe,
    data: DataSet,
    compute: Compute,
    *,
    suites: Sequence[str] = DEFAULT,
    observer: Observer | None = None,
    images: CorruptedImages | None = None,
    sequences: PerturbedImages | None = None,
    attacks: AttackPlan | None = None,
    folder: Path | None = None,
    judged: Predictor | None = None,
    fresh: bool = False,
) -> Evaluation:
    """Judge the run's model on the test split of `data`, and write what was found into the run; see `infer.record`.

    folder   where it is written instead: for a `recipe` that predicts in another way than the run's own does
    judged   what `predictor` gives for these arguments, if it is there already

    Raises `InputError` if nothing was trained there, if the weights are of another architecture, and for data whose
    classes are not those of the run; `matched` gives data with the run's class numbers.
    """
    seeds = run.manifest().get("seeds")
    require_matched(run, data)
    judged = judged or predictor(run, recipe, data, compute)
    about: dict[str, Any] = {"epochs": epochs(run, recipe), "model": recipe.model.name}
    if data.outputs is not None:
        about["classes"] = some_classes(data)
    if len(recipe.train.norm.branches) > 1:
        by = f", {recipe.infer} by {recipe.train.held_out:,} held-out examples" if recipe.infer.best_of else ""
        about["inference"] = f"{judged.infer}{by}"
    return record(
        judged,
        data,
        folder or run.path,
        name=recipe.name,
        seed=seeds.get("base") if isinstance(seeds, dict) else None,
        about=about,
        suites=suites,
        observer=observer,
        images=images,
        sequences=sequences,
        attacks=attacks,
        fresh=fresh,
    )


def epochs(run: Run, recipe: Recipe) -> int | str:
    """How many epochs the run was trained for: their number, or "36 of 40" where training is not at its end."""
    done, whole = checkpoint.progress(run.checkpoints).epoch, recipe.train.epochs
    return whole if done >= whole else f"{done} of {whole}"


def predictor(run: Run, recipe: Recipe, data: DataSet, compute: Compute) -> Predictor:
    """The run's model with the weights that it was trained to, by the inference rule of its recipe."""
    return Predictor(trained_model(recipe, data, run, compute), chosen(recipe.infer, run), compute, data.outputs)
