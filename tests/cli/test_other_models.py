"""`elinvar evaluate` on models of strangers: outputs that are not finite, or probabilities; constants; weights.

Cases    NaN for every seventh image: counted by the model's name; `pretrained_cfg` with other constants than the
         data's: used and told; weights under "net" and of an AveragedModel: read
Besides  inf, all NaN, float16 overflow, masked classes, NaN in one model of two, under attack, along frames, in the
         report and in JSON; probabilities, refused, read and mistaken; --mean over own constants, a model that
         standardizes, grey constants; two states in a file, a key that is none
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import metrics, models
from elinvar.cli.main import main
from elinvar.infer import Evaluation
from elinvar.report import RunResult, headline, write_report

Capture = pytest.CaptureFixture[str]
LAST: dict[str, Any] = {}


class Linear(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.fc = nn.Linear(3 * 32 * 32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        LAST["lowest"] = float(images.detach().min())
        logits: Tensor = self.fc(images.flatten(1))
        return logits


class Holes(Linear):
    """NaN where the image says so, whatever its batch: for the brightest of every few."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        bad = (images.flatten(1).sum(1) * 100).long() % 7 == 1
        return logits.masked_fill(bad[:, None], self.filling())

    def filling(self) -> float:
        return float("nan")


class Infinite(Holes):
    def filling(self) -> float:
        return float("inf")


class Overflow(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return (1e5 * super().forward(images)).half()


class Lost(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * float("nan")


class Masked(Linear):
    """Nine classes of ten: logits of -inf mask the last one."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images).clone()
        logits[:, 9] = -torch.inf
        return logits


class Softmax(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).softmax(1)


class Sigmoid(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).sigmoid()


class Says(Linear):
    def __init__(self, num_classes: int = 10, mean: float = 0.5, channels: int = 3) -> None:
        super().__init__(num_classes)
        self.pretrained_cfg = {"mean": (mean,) * channels, "std": (0.5,) * channels, "crop_pct": 0.875}


def standardizing() -> nn.Module:
    return models.Standardized(models.Standardize((0.25,) * 3, (0.25,) * 3), Linear())


READY = nn.DataParallel(standardizing())


def evaluated(capsys: Capture, out: Path, *words: str, suites: str = "clean") -> tuple[list[dict[str, Any]], str]:
    """What the program prints as JSON, and what it says besides."""
    arguments = [word.replace("HERE", __name__) for word in words]
    assert main(["evaluate", *arguments, "--data", "digits", "--suites", suites, "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found: list[dict[str, Any]] = json.loads(printed.out, parse_constant=refuse)
    for file in out.rglob("evaluation.json"):
        json.loads(file.read_text(), parse_constant=refuse)
    order = " its outputs are taken in the order of the classes of digits: 0, 1, 2 and 7 more\n"
    lines = printed.err.splitlines(keepends=True)
    assert any(line.endswith(order) for line in lines)
    return found, "".join(line for line in lines if not line.endswith(order))


def complaint(capsys: Capture, out: Path, *words: str) -> str:
    arguments = [word.replace("HERE", __name__) for word in words]
    assert main(["evaluate", *arguments, "--data", "digits", "--suites", "clean", "--out", str(out)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1, line
    return line


def kept(out: Path) -> tuple[Tensor, Tensor]:
    from safetensors.torch import load_file

    (path,) = out.rglob("predictions.safetensors")
    tensors = load_file(path)
    return tensors["clean.logits"], tensors["clean.targets"]


@pytest.mark.parametrize("name", ["Holes", "Infinite", "Overflow", "Lost"])
def test_outputs_that_are_not_finite_are_counted_and_named(name: str, tmp_path: Path, capsys: Capture) -> None:
    (found,), said = evaluated(capsys, tmp_path, f"HERE:{name}")
    logits, targets = kept(tmp_path)
    count = int((~logits.amax(1).isfinite()).sum())
    assert 0 < count <= 500
    assert found["clean"]["not_finite"] == count
    assert found["not_finite"] == {"clean": [count, 500]}
    assert found["clean"]["error"] == 100 * metrics.error_rate(logits, targets)
    assert [found["clean"][key] for key in ("nll", "brier", "rms_calibration")] == [None, None, None]
    assert f"{name}: {count} of 500 outputs are not finite (clean)" in said
    (page,) = tmp_path.rglob("report.html")
    text = page.read_text(encoding="utf-8")
    assert f"{count} of 500 outputs are not finite" in text
    assert "not defined" in text
    assert ">nan<" not in text


def test_other_models_of_the_command_go_on(tmp_path: Path, capsys: Capture) -> None:
    (holes, plain, masked), said = evaluated(capsys, tmp_path, "HERE:Holes", "HERE:Linear", "HERE:Masked")
    assert holes["clean"]["nll"] is None
    assert plain["clean"]["nll"] > 0
    assert plain["not_finite"] == {}
    assert masked["not_finite"] == {}, "a class that is masked by -inf is no fault"
    assert said.count("not finite") == 1


def test_every_suite_counts_them(tmp_path: Path, capsys: Capture) -> None:
    suites = "clean,extra,calibration,fourier,attacks"
    words = ["HERE:Holes", "HERE:Linear", "--attack-images", "40", "--report", str(tmp_path / "r.html")]
    (found, _), said = evaluated(capsys, tmp_path, *words, suites=suites)
    lost = found["not_finite"]
    assert {"clean", "spatter 5", "single frequencies", "attack natural", "attack PGD-20"} <= lost.keys()
    assert any(name.startswith("images made for") for name in lost)
    assert all(0 < count <= of for count, of in lost.values())
    assert found["extra"]["mean"]["error"] > 0
    assert found["extra"]["mean"]["nll"] is None
    assert set(found["calibration"]["clean"].values()) == {None}
    assert found["attacks"]["results"]["natural"]["not_finite"] == lost["attack natural"][0]
    assert "more sets" in said
    assert (tmp_path / "r.html").exists()


def test_flips_of_frames_without_a_rank_are_not_defined(tmp_path: Path) -> None:
    from elinvar import metrics
    from elinvar.infer.sequences import stability

    names = metrics.PERTURBATION_SUBSETS["benchmark"] + ("spatter",)
    found = {name: {"flips": torch.tensor([0.5, 0.25])} for name in names}
    found["snow"] = {"flips": torch.tensor([0.5, torch.nan])}
    told = stability(found, "made here", 10)
    assert math.isnan(told.flips["snow"])
    assert told.flips["tilt"] == 37.5
    assert math.isnan(told.mean["flip_probability"])
    assert told.mean["flip_probability_spatter"] == 37.5


def test_a_table_of_several_runs_says_which_are_not_defined(tmp_path: Path, capsys: Capture) -> None:
    evaluated(capsys, tmp_path, "HERE:Holes", "HERE:Linear")
    one, two = (Evaluation.read(file) for file in sorted(tmp_path.rglob("evaluation.json")))
    results = [
        RunResult(name="both", seed=0, evaluation=one), RunResult(name="both", seed=1, evaluation=two),
        RunResult(name="lost", seed=0, evaluation=one),
    ]  # fmt: skip
    text = headline(results).to_markdown()
    assert "not defined" in text
    assert "both, seed 0:" in text
    write_report(tmp_path / "page.html", results)


def test_probabilities_are_refused_or_read(tmp_path: Path, capsys: Capture) -> None:
    line = complaint(capsys, tmp_path / "a", "HERE:Softmax")
    assert "test_other_models-Softmax: returns probabilities" in line
    assert "--outputs probabilities" in line
    (given,), _ = evaluated(capsys, tmp_path / "b", "HERE:Softmax", "--outputs", "probabilities")
    (plain,), _ = evaluated(capsys, tmp_path / "c", "HERE:Linear")
    for key in ("nll", "brier", "rms_calibration", "error"):
        assert given["clean"][key] == pytest.approx(plain["clean"][key], rel=1e-5)
    assert "probabilities" in given["about"]["outputs"]
    evaluated(capsys, tmp_path / "d", "HERE:Sigmoid")  # in [0, 1], but logits
    for other in ("Linear", "Sigmoid"):
        assert "expected probabilities" in complaint(
            capsys, tmp_path / "e", f"HERE:{other}", "--outputs", "probabilities"
        )
    assert "did you mean 'logits'" in complaint(capsys, tmp_path / "f", "HERE:Linear", "--outputs", "logit")


def test_log_probabilities_stay_finite() -> None:
    p = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    made = models.LogProbabilities(nn.Flatten())(p.view(2, 2, 1, 1))
    torch.testing.assert_close(made.softmax(1), p, rtol=1e-6, atol=1e-37)
    assert made.isfinite().all()
    assert models.LogProbabilities(nn.Flatten())(torch.full((2, 2, 1, 1), torch.nan)).isnan().all()


def test_a_judge_refuses_probabilities_too() -> None:
    from elinvar.check import InputError
    from elinvar.data import load
    from elinvar.infer import Predictor, judge
    from elinvar.precision import Compute, Precision
    from elinvar.recipe import Infer

    compute = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
    wrapped = models.Standardized(models.Standardize((0.5,) * 3, (0.5,) * 3), Softmax())
    with pytest.raises(InputError, match="LogProbabilities"):
        judge(Predictor(wrapped, Infer(), compute), load("digits").test, suites=["clean"])


def test_own_constants_are_used_and_told(tmp_path: Path, capsys: Capture) -> None:
    (own,), said = evaluated(capsys, tmp_path / "a", "HERE:Says")
    assert LAST["lowest"] == -1.0
    assert "test_other_models-Says: images are standardized by the model's own constants, mean 0.5,0.5,0.5" in said
    assert said.count("\n") == 1
    assert own["about"]["standardized by"] == "mean 0.5,0.5,0.5 and std 0.5,0.5,0.5"
    assert own["about"]["not followed"].startswith("crop_pct 0.875")
    (given,), said = evaluated(capsys, tmp_path / "b", "HERE:Says", "--mean", "0.25,0.25,0.25", "--std", "1,1,1")
    assert LAST["lowest"] == -0.25
    assert said == ""
    (half,), said = evaluated(capsys, tmp_path / "c", "HERE:Says", "--mean", "0,0,0")
    assert LAST["lowest"] == 0.0
    assert "mean 0,0,0 and std 0.5,0.5,0.5; the model's own are mean 0.5" in said
    assert own["clean"] != given["clean"] != half["clean"]


def test_own_constants_that_do_not_fit_are_told(tmp_path: Path, capsys: Capture) -> None:
    for option in ("channels=1", "mean=123.7"):
        _, said = evaluated(capsys, tmp_path / option, "HERE:Says", "--option", option)
        assert "are none for [0, 1] images of 3 channels" in said
        assert LAST["lowest"] != -1.0


@pytest.mark.parametrize("name", ["standardizing", "READY"])
def test_what_standardizes_itself_is_left_alone(name: str, tmp_path: Path, capsys: Capture) -> None:
    _, said = evaluated(capsys, tmp_path, f"HERE:{name}")
    assert LAST["lowest"] == -1.0
    assert said == ""
    _, said = evaluated(capsys, tmp_path, f"HERE:{name}", "--mean", "0,0,0")
    assert "--mean and --std are not used" in said


def test_constants_in_levels_are_refused(tmp_path: Path, capsys: Capture) -> None:
    words = ["HERE:Linear", "--mean", "123.7,116.3,103.5", "--std", "58,57,57"]
    assert "divide constants of 0..255 images by 255" in complaint(capsys, tmp_path, *words)


def test_weights_are_read_from_under_a_key(tmp_path: Path, capsys: Capture) -> None:
    state, other = Linear().state_dict(), {name: -value for name, value in Linear().state_dict().items()}
    (plain,), _ = evaluated(capsys, tmp_path / "a", "HERE:Linear")
    how = ["--model", "HERE:Linear"]
    averaged = torch.optim.swa_utils.AveragedModel(Linear()).state_dict()
    for number, content in enumerate(({"net": state, "acc": 93.0}, {"model_state_dict": state, "epoch": 3}, averaged)):
        torch.save(content, tmp_path / f"{number}.pt")
        (found,), _ = evaluated(capsys, tmp_path / str(number), str(tmp_path / f"{number}.pt"), *how)
        assert found["clean"] == plain["clean"]
    two = str(tmp_path / "two.pt")
    torch.save({"model": other, "model_ema": state}, two)
    line = complaint(capsys, tmp_path / "b", two, *how)
    assert "model, model_ema; choose one, as in --weights-key model_ema" in line
    (found,), _ = evaluated(capsys, tmp_path / "c", two, *how, "--weights-key", "model_ema")
    assert found["clean"] == plain["clean"]
    assert "did you mean 'model_ema'" in complaint(capsys, tmp_path / "d", two, *how, "--weights-key", "model_em")
    assert "is for files of weights" in complaint(capsys, tmp_path / "e", "HERE:Linear", "--weights-key", "net")


def test_constants_of_our_own_files_are_kept_unless_others_are_given(tmp_path: Path, capsys: Capture) -> None:
    torch.save(standardizing().state_dict(), tmp_path / "w.pt")
    words = [str(tmp_path / "w.pt"), "--model", "HERE:Says"]
    _, said = evaluated(capsys, tmp_path / "a", *words)
    assert (LAST["lowest"], said) == (-1.0, "")
    evaluated(capsys, tmp_path / "b", *words, "--mean", "0.5,0.5,0.5")
    assert LAST["lowest"] == -2.0


def test_options_of_other_models_are_no_options_of_runs(tmp_path: Path, capsys: Capture) -> None:
    for words in (["--mean", "0,0,0"], ["--outputs", "probabilities"], ["--weights-key", "ema"], ["--option", "a=1"]):
        line = complaint(capsys, tmp_path, str(tmp_path), *words)
        assert f"{words[0]}: is for weights and importable models, and only runs are given" in line
