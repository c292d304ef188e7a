"""Black boxes: images made for each of several models, shown to all others, which had no say in how they are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..attacks import Result, Robustness
from ..attacks.subject import Outcome, shown
from ..check import InputError
from ..data import DataSet
from .attacked import SEED, AttackPlan, Stage, robustness, subject, summary, within
from .evaluation import Evaluation, FromSource, warn_of_lost
from .identity import model_identity
from .observer import Observer
from .parts import Parts, Tensors
from .predict import Predictor
from .record import EVALUATION, FINGERPRINT, kept

ATTACK = "PGD-10"


@dataclass(frozen=True)
class Entrant:
    """A model that `record` has judged by the suite `attacks`, and what it wrote into `folder`."""

    predictor: Predictor
    folder: Path
    evaluation: Evaluation

    @property
    def name(self) -> str:
        """The recipe, and the seed of its run."""
        found = self.evaluation
        return found.recipe if found.seed is None else f"{found.recipe}, seed {found.seed}"


def black_box(
    entrants: Sequence[Entrant],
    data: DataSet,
    plan: AttackPlan | None = None,
    *,
    observer: Observer | None = None,
    fresh: bool = False,
) -> list[Evaluation]:
    """Show images made for each model (PGD-10) to all others, and write what came out into their evaluations.

    Models with the same weights are not shown each other's images, which would be a white-box attack. What a model says
    about the images of one source is a part below its folder; so the same call after an interruption goes on with the
    next source.

    Raises `InputError` for models that were judged on other data, or under no attacks.

    Source   Papernot et al., 2017; Summers, Understanding and Improving Deep Learning, 2021, section 3.5.2.
    """
    stage, watch = Stage(plan or AttackPlan(), data.test), observer or Observer()
    _check(entrants, data)
    weights = [_weights(of.predictor) for of in entrants]
    files = [kept(of.predictor, data.test, of.folder, of.evaluation.about, fresh=fresh) for of in entrants]
    results: list[dict[str, Result]] = [{} for _ in entrants]
    rows: list[list[FromSource]] = [[] for _ in entrants]
    watch.begin(len(entrants))
    for source, identity in zip(entrants, weights, strict=True):
        others = [number for number, own in enumerate(weights) if own != identity]
        targets = {number: (entrants[number].predictor, files[number]) for number in others}
        for number, outcome in _shown(source, identity, targets, stage, watch).items():
            result = Result.of(stage.plan.trials[ATTACK].attack, *outcome)
            results[number][source.name] = result
            rows[number].append(_row(source, result))
        watch.done(f"made for {source.name}")
    return [
        _written(entrant, parts, stage, result, row)
        for entrant, parts, result, row in zip(entrants, files, results, rows, strict=True)
    ]


def _check(entrants: Sequence[Entrant], data: DataSet) -> None:
    fingerprint = data.fingerprint()
    for entrant in entrants:
        if entrant.evaluation.about[FINGERPRINT] != fingerprint:
            raise InputError(
                f"{entrant.name}: was judged on other data than {data.name}, or knows its classes in another order; "
                "show images of one data set"
            )
        if entrant.evaluation.attacks is None:
            raise InputError(f"{entrant.name}: was not judged under attacks; judge it by the suite 'attacks' first")


def _weights(predictor: Predictor) -> str:
    return model_identity(predictor.judged, predictor.infer, predictor.compute)


def _shown(
    source: Entrant, identity: str, targets: Mapping[int, tuple[Predictor, Parts]], stage: Stage, watch: Observer
) -> dict[int, Outcome]:
    """What each target says about the source's images, which are made if a part is missing."""
    attack, count = stage.plan.trials[ATTACK].attack, stage.plan.count(stage.split)
    said, name = {**stage.identity(attack, count), "source": identity}, f"black-box-{identity[:16]}"
    device = source.predictor.compute.device
    missing = {
        str(number): subject(predictor) for number, (predictor, of) in targets.items() if of.find(name, said) is None
    }
    made: dict[str, Outcome] = {}
    if missing:
        tell = partial(within, watch, f"for {source.name}", stage.steps(attack, count, device))
        made = shown(subject(source.predictor), missing, attack, stage.batches(count, device), SEED, tell)
    return {
        number: Outcome(**of.get(name, partial(dict, said), partial(_tensors, made, str(number))))
        for number, (_, of) in targets.items()
    }


def _tensors(made: Mapping[str, Outcome], number: str) -> Tensors:
    return made[number]._asdict()


def _row(source: Entrant, result: Result) -> FromSource:
    found = source.evaluation
    return FromSource(
        source=found.recipe, seed=found.seed, attack=ATTACK, n=result.n, accuracy=100 * result.accuracy,
        not_finite=result.not_finite,
    )  # fmt: skip


def _written(
    entrant: Entrant, files: Parts, stage: Stage, shown: Mapping[str, Result], rows: Sequence[FromSource]
) -> Evaluation:
    """The evaluation with the black boxes in it; the white box is read from its parts."""
    white = robustness(entrant.predictor, stage, Parts(entrant.folder, identity=files.identity), Observer())
    whole = Robustness.of(white.results, shown, white.flat)
    lost = {f"images made for {name}": [of.not_finite, of.n] for name, of in shown.items() if of.not_finite}
    before = entrant.evaluation
    found = replace(before, attacks=summary(whole, stage, rows), not_finite={**before.not_finite, **lost})
    warn_of_lost(entrant.name, lost)
    found.save(entrant.folder / EVALUATION)
    return found
