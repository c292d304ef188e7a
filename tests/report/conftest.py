"""Made-up results that look like real ones: errors grow with severity, confidence runs ahead of accuracy."""

from collections.abc import Callable

import numpy as np
import pytest

from elinvar.infer.evaluation import Evaluation, Reliability, Scores, Shift
from elinvar.report import RunResult

# Error at the middle severity of a plainly trained network, in per cent: noise and blur hurt, brightness hardly does.
CORRUPTIONS = {
    "gaussian_noise": 48.0, "shot_noise": 36.0, "impulse_noise": 40.0, "defocus_blur": 17.0, "glass_blur": 45.0,
    "motion_blur": 23.0, "zoom_blur": 25.0, "snow": 18.0, "frost": 21.0, "fog": 12.0, "brightness": 6.5,
    "contrast": 19.0, "elastic_transform": 16.0, "pixelate": 24.0, "jpeg_compression": 20.0,
}  # fmt: skip
GROWTH = np.array([0.45, 0.7, 1.0, 1.3, 1.75])

PARTS = ("cross_entropy(clean)", "consistency(clean, aug1, aug2)")

Make = Callable[..., RunResult]


def reliability(rng: np.random.Generator, n: int, error: float, overconfidence: float) -> Reliability:
    """Fifteen bins of predictions that are right less often than they believe."""
    confidence = np.clip(1 - rng.beta(0.6, 0.6 / max(error / 100, 1e-3), n), 0.1, 1.0)
    right = rng.random(n) < np.clip(confidence - overconfidence * (1.1 - confidence), 0, 1)
    place = np.clip(np.ceil(confidence * 15) - 1, 0, 14).astype(int)
    bins = [place == number for number in range(15) if (place == number).any()]
    return Reliability(
        confidence=[float(confidence[inside].mean()) for inside in bins],
        accuracy=[float(right[inside].mean()) for inside in bins],
        count=[int(inside.sum()) for inside in bins],
    )


def make(
    name: str = "standard",
    seed: int | None = 0,
    *,
    strength: float = 1.0,
    corruptions: tuple[str, ...] = tuple(CORRUPTIONS),
    epochs: int = 30,
    parts: tuple[str, ...] = PARTS[:1],
    classes: int = 10,
) -> RunResult:
    """One run. `strength` scales its errors under shift; no `corruptions` means that shift was not tested."""
    rng = np.random.default_rng([len(name), 0 if seed is None else seed + 1])
    clean_error = float(5.0 + rng.normal(0, 0.15))
    strength *= float(rng.normal(1, 0.03))
    errors = {
        corruption: [float(e) for e in clean_error + strength * CORRUPTIONS.get(corruption, 20.0) * GROWTH * wobble]
        for corruption, wobble in zip(corruptions, rng.normal(1, 0.03, len(corruptions)), strict=True)
    }
    pooled = {
        corruption: {"error": float(np.mean(e)), "nll": float(np.mean(e)) / 22, "brier": float(np.mean(e)) / 160}
        | {"rms_calibration": float(np.mean(e)) * 0.7}
        for corruption, e in errors.items()
    }
    mean = {key: float(np.mean([row[key] for row in pooled.values()])) for key in next(iter(pooled.values()), {})}
    shift = Shift(
        subset=f"{len(errors)} corruptions x 5 severities",
        generator="generated from this test set; frost textures are drawn, not photographs",
        errors=errors,
        pooled=pooled,
        mean=mean,
        reliability=reliability(rng, 20_000, mean["error"], 0.4 * strength),
    ) if errors else None  # fmt: skip
    evaluation = Evaluation(
        recipe=name,
        data="cifar10",
        seed=seed,
        suites=["clean", "corruptions"],
        clean=Scores(
            n=10_000, error=clean_error, nll=clean_error / 24, brier=clean_error / 150,
            rms_calibration=clean_error * 0.6, reliability=reliability(rng, 10_000, clean_error, 0.15),
        ),
        shift=shift,
        about={"epochs": epochs, "model": "wrn-40-2"},
    )  # fmt: skip
    manifest = {
        "command": f"elinvar train {name} --data cifar10:data --seed {seed} --out runs/{name}-{seed}",
        "seeds": {"base": seed},
        "data": {
            "name": "cifar10", "fingerprint": "9f2c" * 16, "train": 50_000, "test": 10_000,
            "classes": [f"class {number}" for number in range(classes)],
        },
        "model": {"name": "wrn-40-2", "parameters": 2_243_546},
        "compute": {"device": "cpu", "dtype": "bfloat16", "memory_format": "channels_last"},
        "hardware": {"processor": "Example CPU @ 2.0 GHz", "cores": 2, "threads": 2, "gpu": None},
        "versions": {"python": "3.11.9", "elinvar": "0.1.0", "torch": "2.13.0"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
    }  # fmt: skip
    text = f"name: {name}\ntrain:\n  epochs: {epochs}\n  batch_size: 128\nmodel:\n  name: wrn-40-2\n"
    return RunResult(
        name=name, seed=seed, evaluation=evaluation, metrics=log(rng, epochs, parts, clean_error),
        manifest=manifest, recipe_yaml=text,
    )  # fmt: skip


def log(rng: np.random.Generator, epochs: int, parts: tuple[str, ...], final: float) -> list[dict[str, float]]:
    """A run's log: losses fall, the test is looked at every third epoch."""
    rows = []
    for epoch in range(1, epochs + 1):
        done = epoch / epochs
        losses = {part: float(np.exp(-3 * done) * 2 / (1 + i) + rng.random() * 0.03) for i, part in enumerate(parts)}
        row = {"epoch": epoch, "step": 390 * epoch, "lr": 0.1 * (1 - done), "loss": sum(losses.values()), **losses}
        if epoch % 3 == 0 or epoch == epochs:
            row["test_error"] = final + 40 * float(np.exp(-4 * done)) + float(rng.normal(0, 0.3))
        rows.append({**row, "seconds": 12.0})
    return rows


@pytest.fixture(name="make", scope="session")
def _make() -> Make:
    return make


@pytest.fixture(scope="session")
def pair() -> list[RunResult]:
    """Two recipes that differ clearly under shift, three seeds each."""
    plain = [make("standard", seed) for seed in range(3)]
    robust = [make("augmix", seed, strength=0.35, parts=PARTS) for seed in range(3)]
    return plain + robust
