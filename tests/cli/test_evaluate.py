"""`elinvar evaluate`: runs, weights and importable models; interrupted, on files, and from strangers."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from elinvar import data, models
from elinvar.cli.main import main

TINY = ["--set", "model.name=wrn-10-1", "--set", "train.epochs=1", "--set", "train.batch_size=256"]
CLEAN = ["--suites", "clean"]

Capture = pytest.CaptureFixture[str]


def complaint(capsys: Capture, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    line = capsys.readouterr().err
    assert line.startswith("elinvar: ")
    assert line.count("\n") == 1, line
    return line


def rows(capsys: Capture, *arguments: str) -> list[dict[str, Any]]:
    """What `elinvar evaluate --json` prints."""
    assert main(["evaluate", *arguments, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "one"
    assert main(["train", "standard", *TINY, "--out", str(out)]) == 0
    return out


class Linear(nn.Module):
    """What somebody else has written; takes standardized images."""

    def __init__(self, num_classes: int = 10, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.fc = nn.Linear(3 * 32 * 32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(images.flatten(1))
        return self.scale * logits


class Failing(Linear):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("a shape\nthat does not fit")


class Five(Linear):
    def __init__(self) -> None:
        super().__init__(5)


class Talking(Linear):
    def forward(self, images: Tensor) -> Any:
        return {"logits": super().forward(images)}


def broken() -> nn.Module:
    raise OSError("no such file")


READY = Linear()


def test_an_importable_model_is_judged_from_a_class_and_from_a_module(capsys: Capture, tmp_path: Path) -> None:
    common = ["--data", "digits", *CLEAN, "--out", str(tmp_path)]
    here = f"{__name__}"
    made, ready = rows(capsys, f"{here}:Linear", f"{here}:READY", *common)
    assert made["clean"] == ready["clean"]
    assert made["about"]["model"] == f"{here}:Linear"
    folders = {path.name for path in tmp_path.iterdir()}
    assert len(folders) == 2
    for folder in folders:
        names = {path.name for path in (tmp_path / folder).iterdir()}
        assert {"evaluation.json", "predictions.safetensors", "report.html"} <= names
    (scaled,) = rows(capsys, f"{here}:Linear", *common, "--option", "scale=100", "--name", "loud")
    assert scaled["recipe"] == "loud"
    assert scaled["clean"]["error"] == made["clean"]["error"]
    assert scaled["clean"]["nll"] > made["clean"]["nll"]
    (again,) = rows(capsys, f"{here}:Linear", *common, "--name", "loud")
    assert again["clean"] == made["clean"], "other options make another model, whose predictions are not reused"
    (raw,) = rows(capsys, f"{here}:Linear", *common, "--mean", "0,0,0", "--std", "1,1,1", "--name", "raw")
    assert raw["clean"] != made["clean"]


def weights(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], *, standardize: bool) -> Path:
    digits = data.load("digits")
    made = models.build("wrn-10-1", classes=10, mean=digits.mean, std=digits.std, seed=5)
    state = change(dict((made if standardize else made.network).state_dict()))
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("name", "change", "standardize"),
    [
        ("a.safetensors", lambda state: state, True),
        ("b.safetensors", lambda state: state, False),
        ("c.pt", lambda state: {"state_dict": state, "epoch": 3}, False),
        ("d.pth", lambda state: {"model": {f"module.{k}": v for k, v in state.items()}}, False),
        ("e.ckpt", lambda state: {f"_orig_mod.model.{k}": v for k, v in state.items()}, False),
    ],
    ids=["elinvar's", "the network's", "wrapped", "of DataParallel", "compiled"],
)
def test_weights_are_judged_however_they_were_saved(
    name: str, change: Callable[[Any], Any], standardize: bool, tmp_path: Path, capsys: Capture
) -> None:
    path = weights(tmp_path / name, change, standardize=standardize)
    (found,) = rows(
        capsys, str(path), "--model", "wrn-10-1", "--data", "digits", *CLEAN, "--out", str(tmp_path / "out")
    )
    reference = weights(tmp_path / "reference.safetensors", lambda state: state, standardize=True)
    (expected,) = rows(
        capsys, str(reference), "--model", "wrn-10-1", "--data", "digits", *CLEAN, "--out", str(tmp_path / "out")
    )
    assert found["clean"] == expected["clean"]
    assert found["recipe"] == path.stem
    assert "SHA-256" in found["about"]["weights"]


def test_weights_of_a_run_say_what_the_run_says(run: Path, tmp_path: Path, capsys: Capture) -> None:
    (place,) = (run / "checkpoint").iterdir()
    how = ["--data", "digits", *CLEAN, "--out", str(tmp_path)]
    (found,) = rows(capsys, str(place / "weights.safetensors"), "--model", "wrn-10-1", *how)
    (own,) = rows(capsys, str(run), *CLEAN)
    assert found["clean"] == own["clean"]


class Harm:
    """What a hostile file would hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("way", ["pickle", "torch.save", "safetensors name"])
def test_hostile_weights_run_no_code(way: str, tmp_path: Path, capsys: Capture) -> None:
    harm, path = tmp_path / "harm", tmp_path / ("w.safetensors" if way == "safetensors name" else "w.pt")
    if way == "torch.save":
        torch.save({"state_dict": Harm(harm)}, path)
    else:
        path.write_bytes(pickle.dumps(Harm(harm)))
    line = complaint(capsys, "evaluate", str(path), "--model", "wrn-10-1", "--data", "digits", "--out", str(tmp_path))
    assert str(path) in line
    assert not harm.exists()
    assert not list(tmp_path.rglob("evaluation.json"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["W"], "name what it is judged on"),
        (["W", "--data", "digits"], "as in --model wrn-40-2"),
        (["W", "--data", "digits", "--model", "wrn-16-1"], "another architecture"),
        (["W", "--data", "digits", "--model", "wrn-10-1", "--option", "dropout"], "NAME=VALUE"),
        (["W", "--data", "digits", "--model", "wrn-10-1", "--option", "dropout=["], "no YAML"),
        (["W", "--data", "digits", "--model", "wrn-10-1", "--option", "drop=1"], "dropout"),
        (["W", "--data", "digits", "--model", "wrn-10-1", "--mean", "a,b"], "--mean"),
        (["W", "--data", "digits", "--model", "wrn-10-1", "--mean", "0.5"], "expected 3"),
        (["W", "--data", "digits", "--model", "wrn-10-1", "--precision", "half"], "--precision"),
        (["W", "--data", "digits", "--model", "wrn-10-1", "--name", "a/b"], "--name"),
        (["W", "W", "--data", "digits", "--model", "wrn-10-1", "--name", "a"], "2 are given"),
        (["W", "W", "--data", "digits", "--model", "wrn-10-1", *CLEAN], "judge them one by one"),
        (["W", "--data", "digits", "--model", "wrn-10-1", "--suites", "corruption"], "did you mean 'corruptions'"),
        (["missing.pt", "--data", "digits", "--model", "wrn-10-1"], "missing.pt"),
        (["HERE:Linear", "--data", "digits", "--model", "wrn-10-1"], "is for files of weights"),
        (["HERE:Linea", "--data", "digits"], "did you mean 'Linear'"),
        (["HERE:Failing", "--data", "digits"], "fails on images of shape (3, 32, 32)"),
        (["HERE:Talking", "--data", "digits"], "fails on images"),
        (["HERE:broken", "--data", "digits"], "no such file"),
        (["HERE:Five", "--data", "digits"], "expected one logit for each of the 10 classes"),
        (["no_such_package:Net", "--data", "digits"], "no_such_package"),
        (["RUN", "--corrupted", "/nowhere"], "does not exist"),
        (["RUN", "--corrupted", "EMPTY"], "holds neither"),
        (["RUN", "--corrupted", "EMPTY", "--frost-dir", "EMPTY"], "--frost-dir"),
        (["RUN", "--frost-dir", "EMPTY"], "frost1"),
        (["RUN", "--perturbed", "EMPTY", "--suites", "perturbations"], "holds neither"),
    ],
    ids=" ".join,
)
def test_bad_input(arguments: list[str], text: str, run: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    path = weights(tmp_path / "w.safetensors", lambda state: state, standardize=True)
    words = {"W": str(path), "RUN": str(run), "EMPTY": str(tmp_path / "empty")}
    given = [words.get(word, word.replace("HERE", __name__)) for word in arguments]
    assert text in complaint(capsys, "evaluate", *given, "--out", str(tmp_path / "out"))


def test_files_of_corrupted_images_give_the_numbers_of_generated_ones(tmp_path: Path, capsys: Capture) -> None:
    how = [f"{__name__}:Linear", "--data", "digits", "--suites", "clean,corruptions,extra", "--out", str(tmp_path)]
    (generated,) = rows(capsys, *how, "--name", "generated")
    assert main(["corrupt", "digits", str(tmp_path / "C"), "--corruptions", "benchmark,extra"]) == 0
    capsys.readouterr()
    files = ["--name", "files", "--corrupted", str(tmp_path / "C")]
    (found,) = rows(capsys, *how, *files, "--report", str(tmp_path / "r.html"))
    assert found["shift"] == generated["shift"]
    assert found["extra"] == generated["extra"]
    assert "What the corruptions look like" in (tmp_path / "r.html").read_text(encoding="utf-8")
    (tmp_path / "C" / "fog.npy").unlink()
    assert "fog.npy: missing" in complaint(capsys, "evaluate", *how, *files)


def test_a_killed_evaluation_goes_on_to_the_same_bits(tmp_path: Path, capsys: Capture) -> None:
    how = [f"{__name__}:Linear", "--data", "digits", "--name", "a"]
    command = [sys.executable, "-m", "elinvar", "evaluate", *how, "--out", str(tmp_path / "killed")]
    parts = tmp_path / "killed" / "a" / "evaluation"
    there = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=there)
    while len(list(parts.glob("[!.]*"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {file.name: file.stat().st_mtime_ns for file in parts.glob("[!.]*")}
    assert 3 <= len(kept) < 15
    assert not (tmp_path / "killed" / "a" / "evaluation.json").exists()
    (continued,) = rows(capsys, *how, "--out", str(tmp_path / "killed"))
    (whole,) = rows(capsys, *how, "--out", str(tmp_path / "whole"))
    assert continued == whole
    assert {name: (parts / name).stat().st_mtime_ns for name in kept} == kept
    for file in (tmp_path / "whole").rglob("*.safetensors"):
        assert (tmp_path / "killed" / file.relative_to(tmp_path / "whole")).read_bytes() == file.read_bytes()
