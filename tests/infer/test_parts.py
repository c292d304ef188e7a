"""An interrupted evaluation goes on where it stopped, to the same bits, and reads nothing of another model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import data, metrics, models, shift
from elinvar.infer import Evaluation, Generated, Observer, Predictor, record
from elinvar.infer.identity import FEW
from elinvar.infer.predictions import Predictions, scores
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
DIGITS = data.subset(data.load("digits"), train=100, test=40)


class Counting(Predictor):
    """A predictor that counts the images that go through it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, Infer(), CPU)
        self.images, forward = 0, self._forward

        def counted(images: Tensor) -> Tensor:
            self.images += len(images)
            return forward(images)

        self._forward = counted


def model(seed: int = 0) -> nn.Module:
    return models.build("wrn-10-1", classes=10, mean=DIGITS.mean, std=DIGITS.std, seed=seed)


def judged(folder: Path, predictor: Predictor | None = None, **how: Any) -> Evaluation:
    return record(predictor or Counting(model()), DIGITS, folder, name="test", **how)


class Stop(Observer):
    """Interrupts after so many sets."""

    def __init__(self, after: int) -> None:
        self.left = after

    def done(self, name: str) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return judged(tmp_path_factory.mktemp("whole"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def test_an_interrupted_evaluation_goes_on_to_the_same_numbers(whole: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        judged(tmp_path, observer=Stop(1 + 5 * 3 + 2))  # in the middle of the fourth corruption
    kept = contents(tmp_path)
    assert set(kept) == {
        f"{name}.safetensors" for name in ("predictions", "few", "gaussian_noise", "shot_noise", "impulse_noise")
    }
    assert not (tmp_path / "evaluation.json").exists()
    rest = Counting(model())
    assert judged(tmp_path, rest) == whole
    assert rest.images == FEW + 40 * 5 * 12, "what was kept is not predicted again"
    assert {name: contents(tmp_path)[name] for name in kept} == kept
    assert not list(tmp_path.rglob("*.tmp"))


def test_every_image_goes_through_the_model_once_whatever_the_suites(tmp_path: Path) -> None:
    predictor = Counting(model())
    judged(tmp_path, predictor, suites=["clean", "corruptions", "extra", "calibration"])
    assert predictor.images == FEW + 40 * (1 + 5 * 19)
    judged(tmp_path, predictor, suites=["clean", "corruptions"])
    assert predictor.images == 2 * FEW + 40 * (1 + 5 * 19), "a few images are always predicted anew"


def test_progress_counts_every_set_also_those_that_were_kept(tmp_path: Path) -> None:
    class Count(Observer):
        def begin(self, sets: int) -> None:
            self.sets, self.names = sets, list[str]()

        def done(self, name: str) -> None:
            self.names.append(name)

    first, second = Count(), Count()
    judged(tmp_path, observer=first)
    judged(tmp_path, observer=second)
    assert first.names == second.names
    assert first.sets == len(first.names) == 1 + 5 * 15


def damage(folder: Path) -> dict[str, Any]:
    path = folder / "evaluation" / "fog.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    return {}


@pytest.mark.parametrize(
    ("change", "images"),
    [
        (lambda folder: {}, 0),
        (lambda folder: {"fresh": True}, 40 * 76),
        (lambda folder: {"predictor": Counting(model(seed=1))}, 40 * 76),
        (damage, 40 * 5),
        (lambda folder: {"images": Generated(DIGITS.test, other_frost())}, 40 * 5),
    ],
    ids=["the same", "fresh", "other weights", "a damaged file", "other frost"],
)
def test_what_is_predicted_again(change: Callable[[Path], dict[str, Any]], images: int, tmp_path: Path) -> None:
    judged(tmp_path)
    how = {"predictor": Counting(model()), **change(tmp_path)}
    judged(tmp_path, **how)
    assert how["predictor"].images == FEW + images


def other_frost() -> shift.FrostTextures:
    grown = shift.frost_textures()
    return shift.FrostTextures(tuple(255 - picture for picture in grown.pictures), False, "photographs from elsewhere")


def test_photographs_of_frost_change_frost_alone_and_are_named(whole: Evaluation, tmp_path: Path) -> None:
    found = judged(tmp_path, images=Generated(DIGITS.test, other_frost()))
    assert found.shift is not None
    assert whole.shift is not None
    assert "frost from photographs from elsewhere" in found.shift.generator
    differing = [name for name in found.shift.pooled if found.shift.pooled[name] != whole.shift.pooled[name]]
    assert differing == ["frost"]


def test_reduced_predictions_are_those_of_the_metrics() -> None:
    logits, targets = 3 * torch.randn(700, 10, generator=torch.manual_seed(0)), torch.arange(700) % 10
    found, p = Predictions.of(logits, targets), logits.double().softmax(1)
    assert found.error == 100 * metrics.error_rate(logits, targets)
    assert float(found.nll.mean()) == pytest.approx(metrics.negative_log_likelihood(logits, targets), rel=1e-12)
    assert float(found.brier.mean()) == pytest.approx(metrics.brier_score(p, targets), rel=1e-12)
    whole = scores(logits, targets)
    assert whole.brier == metrics.top_label_brier_score(p, targets)
    assert whole.rms_calibration == 100 * metrics.rms_calibration_error(p, targets)
    assert sum(whole.reliability.count) == 700


def test_calibration_is_told_clean_pooled_and_by_severity(tmp_path: Path) -> None:
    found = judged(tmp_path, suites=["clean", "corruptions", "calibration"])
    assert found.calibration is not None
    assert found.shift is not None
    told = found.calibration
    assert told.clean["rms"] == found.clean.rms_calibration
    assert told.corrupted is not None
    assert told.corrupted["rms"] == pytest.approx(found.shift.mean["rms_calibration"])
    assert told.subset == "mean over 15 corruptions of the benchmark"
    assert len(told.by_severity) == 5
    assert Evaluation.read(tmp_path / "evaluation.json") == found
    alone = judged(tmp_path, suites=["clean", "calibration"]).calibration
    assert alone is not None
    assert alone.corrupted is None


def test_the_four_for_validation_stay_outside_of_the_mean(whole: Evaluation, tmp_path: Path) -> None:
    found = judged(tmp_path, suites=["clean", "corruptions", "extra"])
    assert found.shift == whole.shift
    assert found.extra is not None
    assert list(found.extra.errors) == list(shift.EXTRA)
    assert found.shift is not None
    assert "15 corruptions of the benchmark" in found.shift.subset
    assert "4 corruptions for validation" in found.extra.subset
