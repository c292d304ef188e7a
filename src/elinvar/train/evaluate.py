"""Judge a run with the weights that it was trained to, and keep what was found beside it."""

from collections.abc import Sequence

from ..data import DataSet
from ..files import replacing
from ..infer import SUITES, Evaluation, Predictor, judge
from ..infer.judge import Observer
from ..precision import Compute
from ..recipe import Recipe
from .checkpoint import save_tensors
from .loop import trained_model
from .run import Run


def evaluate(
    run: Run,
    recipe: Recipe,
    data: DataSet,
    compute: Compute,
    *,
    suites: Sequence[str] = tuple(SUITES),
    observer: Observer | None = None,
) -> Evaluation:
    """Judge the run's model on the test split of `data`; writes `evaluation.json` and `predictions.safetensors`.

    Raises `InputError` if nothing was trained there, or the weights are of another architecture.
    """
    predictor = Predictor(trained_model(recipe, data, run, compute), recipe.infer, compute)
    verdict = judge(predictor, data.test, suites=suites, observer=observer)
    seeds = run.manifest().get("seeds")
    about = {"epochs": recipe.train.epochs, "model": recipe.model.name, "fingerprint": data.fingerprint()}
    found = Evaluation(
        recipe=recipe.name,
        data=data.name,
        seed=seeds.get("base") if isinstance(seeds, dict) else None,
        suites=list(suites),
        clean=verdict.clean,
        shift=verdict.shift,
        about=about,
    )
    with replacing(run.path / "predictions.safetensors") as temporary:
        save_tensors(temporary, {"clean.logits": verdict.logits, "clean.targets": verdict.targets})
    found.save(run.evaluation_file)
    return found
