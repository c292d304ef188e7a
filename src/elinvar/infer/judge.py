"""Judge a model clean and under shift: one forward over each image, every number from the same predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from jaxtyping import Float, Int64
from torch import Tensor

from .. import metrics, shift
from ..check import InputError, unknown
from ..data import Split
from ..data.corrupting import corrupt as corrupt
from ..outputs import probabilities_sure
from .attacked import AttackPlan, Stage, robustness, sets, summary
from .calibrated import calibration, mean, subset
from .evaluation import Attacks, Calibration, Scores, Shift, Spectrum, Stability
from .images import SEVERITIES as SEVERITIES
from .images import CorruptedImages, Generated
from .observer import Observer as Observer
from .parts import CLEAN, Parts, Tensors
from .predict import Predictor
from .predictions import Predictions
from .predictions import scores as scores
from .sequences import IMAGENET_CLASSES, NAMES, GeneratedFrames, PerturbedImages, followed, stability
from .spectrum import IMAGES, measured, settings, spectrum

SUITES = {
    "clean": "error, NLL, Brier score and calibration on the test images as they are",
    "corruptions": "the same under 15 corruptions at 5 severities",
    "extra": "the same under the 4 corruptions for validation, which are outside of the mean",
    "perturbations": "flips of the prediction and top-5 distance along sequences of 10 perturbations",
    "fourier": "error under single frequencies, as a heatmap, and accuracy without high ones",
    "calibration": "more measures of calibration, clean and by severity, from the same predictions",
    "attacks": "accuracy under FGSM, PGD and SPSA, and under images made for other models; what to doubt about it",
}
DEFAULT = ("clean", "corruptions")


@dataclass(frozen=True)
class Verdict:
    """What `judge` found, None where no suite asked for it, and the clean predictions in the order of the data set.

    not_finite   as in `Evaluation`
    """

    clean: Scores
    shift: Shift | None
    logits: Float[Tensor, "n classes"]
    targets: Int64[Tensor, " n"]
    extra: Shift | None = None
    calibration: Calibration | None = None
    stability: Stability | None = None
    spectrum: Spectrum | None = None
    attacks: Attacks | None = None
    not_finite: dict[str, list[int]] = field(default_factory=dict)


def judge(
    predictor: Predictor,
    split: Split,
    *,
    suites: Sequence[str] = DEFAULT,
    batch_size: int = 500,
    observer: Observer | None = None,
    images: CorruptedImages | None = None,
    sequences: PerturbedImages | None = None,
    attacks: AttackPlan | None = None,
    parts: Parts | None = None,
) -> Verdict:
    """Predict `split`, clean and, if `suites` asks for it, under corruptions.

    images     where corrupted images come from: `Published` files, or `Generated` from `split` (the default)
    sequences  where perturbed ones come from: `PublishedFrames`, or `GeneratedFrames` (the default)
    attacks    what the suite `attacks` tries; None: `AttackPlan()`
    parts      where what was found is kept and, after an interruption, found again; None keeps nothing

    The mean corruption error averages error rates over severities, then over the 15 corruptions of the benchmark:
    AugMix's unnormalized mCE. Calibration under shift pools the five severities of a corruption, then averages over
    corruptions.

    Logits that are not finite count as misclassified; they are counted, and what needs their probabilities is NaN.

    Raises `InputError` for an unknown suite, an empty split, corrupted images that cannot be had, and a model that
    returns probabilities.
    """
    for suite in suites:
        if suite not in SUITES:
            raise unknown("suite", suite, SUITES)
    if not len(split):
        raise InputError("there is nothing to judge: the test split is empty")
    source, kept, watch = images or Generated(split), parts or Parts(), observer or Observer()
    subsets = {"corruptions": tuple(shift.CORRUPTIONS), "extra": tuple(shift.EXTRA)}
    subsets = {suite: names for suite, names in subsets.items() if suite in suites}
    for names in subsets.values():
        source.check(names)
    films = sequences or GeneratedFrames(split)
    followed_names = NAMES if "perturbations" in suites else ()
    if followed_names:
        films.check(followed_names)
    stage = Stage(attacks or AttackPlan(), split)
    ahead = 1 + len(SEVERITIES) * sum(map(len, subsets.values())) + len(followed_names) + ("fourier" in suites)
    watch.begin(ahead + ("attacks" in suites and sets(stage.plan)))
    clean = kept.get(
        CLEAN,
        lambda: {"images": "clean", "of": split.fingerprint()},
        lambda: _clean(predictor, split, batch_size),
    )
    watch.done("clean")
    _check_logits(clean["clean.logits"])
    reader = _Reader(predictor, source, kept, batch_size, watch)
    found = {suite: {name: reader.predictions(name) for name in names} for suite, names in subsets.items()}
    stable: dict[str, Tensors] = {}
    for name in followed_names:
        stable[name] = kept.get(
            f"perturbation-{name}",
            partial(films.identity, name),
            partial(followed, predictor, split, films, name, batch_size),
        )
        watch.done(f"{name}, sequences")
    plain, classes = Predictions.of(clean["clean.logits"], clean["clean.targets"]), clean["clean.logits"].shape[1]
    waves = _frequencies(predictor, split, kept, batch_size, watch) if "fourier" in suites else None
    attacked = summary(robustness(predictor, stage, kept, watch), stage) if "attacks" in suites else None
    return Verdict(
        clean=plain.scores(),
        shift=_benchmark(found["corruptions"], plain, source.about, classes) if "corruptions" in found else None,
        logits=clean["clean.logits"],
        targets=clean["clean.targets"],
        extra=_summary(found["extra"], source.about) if "extra" in found else None,
        calibration=calibration(plain, found.get("corruptions")) if "calibration" in suites else None,
        stability=stability(stable, films.about, classes) if stable else None,
        spectrum=None if waves is None else spectrum(waves, split),
        attacks=attacked,
        not_finite=_lost(plain, found, stable, waves, attacked),
    )


def _check_logits(logits: Float[Tensor, "n classes"]) -> None:
    """Raise `InputError` for probabilities, whose likelihood and calibration would be those of another softmax."""
    if probabilities_sure(logits):
        raise InputError(
            "the model returns probabilities (rows of at least 0 that sum to 1), expected logits, whose softmax is "
            "taken; say --outputs probabilities, or judge models.LogProbabilities(model), which returns their logarithm"
        )


def _lost(
    clean: Predictions,
    found: Mapping[str, Mapping[str, Sequence[Predictions]]],
    frames: Mapping[str, Tensors],
    waves: Tensors | None,
    attacked: Attacks | None,
) -> dict[str, list[int]]:
    """Sets of images with logits that are not finite: of how many, and of how many in all."""
    sets = {"clean": [clean.not_finite, len(clean.targets)]}
    for corruptions in found.values():
        for name, levels in corruptions.items():
            for severity, of in zip(SEVERITIES, levels, strict=True):
                sets[f"{name} {severity}"] = [of.not_finite, len(of.targets)]
    for name, tensors in frames.items():
        if "lost" in tensors:
            sets[f"{name}, frames"] = [int(tensors["lost"]), int(tensors["frames"])]
    if waves is not None and "lost" in waves:
        sets["single frequencies"] = waves["lost"].tolist()
    for name, under in attacked.results.items() if attacked is not None else ():
        sets[f"attack {name}"] = [under.not_finite, under.n]
    return {name: counts for name, counts in sets.items() if counts[0]}


def _frequencies(predictor: Predictor, split: Split, kept: Parts, batch_size: int, watch: Observer) -> Tensors:
    found = kept.get(
        "fourier",
        lambda: {"images": IMAGES, "of": split.fingerprint(), "settings": settings(split)},
        lambda: measured(predictor, split, batch_size, watch.within),
    )
    watch.done("fourier")
    return found


def _clean(predictor: Predictor, split: Split, batch_size: int) -> Tensors:
    logits, targets = predictor.batches(predictor.everything(split, batch_size=batch_size))
    return {"clean.logits": logits, "clean.targets": targets}


@dataclass(frozen=True)
class _Reader:
    """Predictions under one corruption, from the file of an earlier evaluation or from the model."""

    predictor: Predictor
    source: CorruptedImages
    parts: Parts
    batch_size: int
    watch: Observer

    def predictions(self, name: str) -> list[Predictions]:
        """One item for each severity."""
        done = []

        def make() -> Tensors:
            tensors: Tensors = {}
            for severity in SEVERITIES:
                batches = self.source.batches(name, severity, self.batch_size, self.predictor.compute.device)
                tensors |= Predictions.of(*self.predictor.batches(batches)).tensors(str(severity))
                self.watch.done(f"{name} {severity}")
                done.append(severity)
            return tensors

        found = self.parts.get(name, lambda: self.source.identity(name), make)
        for severity in SEVERITIES[len(done) :]:
            self.watch.done(f"{name} {severity}")
        return [Predictions.read(found, str(severity)) for severity in SEVERITIES]


def _summary(found: dict[str, list[Predictions]], generator: str) -> Shift:
    """What is reported about the corruptions of one subset."""
    errors = {name: [part.error for part in parts] for name, parts in found.items()}
    pooled = {name: Predictions.pooled(parts).scores() for name, parts in found.items()}
    rows = {
        name: {"error": of.error, "nll": of.nll, "brier": of.brier, "rms_calibration": of.rms_calibration}
        for name, of in pooled.items()
    }
    everything = Predictions.pooled([part for parts in found.values() for part in parts])
    return Shift(
        subset=f"{subset(found)} x {len(SEVERITIES)} severities",
        generator=generator,
        errors=errors,
        pooled=rows,
        mean=mean(list(rows.values())),
        reliability=everything.scores().reliability,
    )


def _benchmark(found: dict[str, list[Predictions]], clean: Predictions, generator: str, classes: int) -> Shift:
    """The 15 corruptions of the mean; ImageNet's 1,000 classes also get the means in per cent of AlexNet's errors."""
    made = _summary(found, generator)
    made.mean["error"] = float(metrics.mean_corruption_error(made.errors))
    if classes == IMAGENET_CLASSES:
        shares = {name: [error / 100 for error in errors] for name, errors in made.errors.items()}
        made.mean["mce"] = float(metrics.mean_corruption_error(shares, normalizers=metrics.ALEXNET))
        made.mean["relative_mce"] = float(metrics.relative_mean_corruption_error(shares, clean.error / 100))
    return made
