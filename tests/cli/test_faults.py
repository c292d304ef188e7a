"""Bad input and bad luck: one clear line, exit code 2, nothing half-written."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from elinvar.check import warn
from elinvar.cli.main import main

TINY = ["--set", "model.name=wrn-10-1", "--set", "train.epochs=1", "--set", "train.batch_size=256"]


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the program; check that it fails as it should, and return its one line."""
    assert main(list(arguments)) == 2
    line = capsys.readouterr().err
    assert line.startswith("elinvar: ")
    assert line.count("\n") == 1, line
    return line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "augmx"], "did you mean 'augmix'"),
        (["train", "standard", "--set", "train.epoch=3"], "train.epoch"),
        (["train", "standard", "--set", "train.epochs=-3"], "above 0"),
        (["train", "standard", "--epochs", "3"], "--help"),
        (["train", "standard", "--seed", "one"], "seed"),
        (["train", "standard", "--seed-of", "shufle=1"], "shuffle"),
        (["train", "standard", "--data", "digit"], "digits"),
        (["train", "standard", "--data", "cifar10:/nowhere"], "/nowhere"),
        (["train", "standard", "--set", "model.name=wrn-41-2"], "wrn"),
        (["train", "standard", "--set", "model.name=elinvar.nothing"], "elinvar"),
        (["train", "standard", "--device", "cuda:77"], "cuda:77"),
        (["train", "standard", "--threads", "0"], "threads"),
        (["train", "missing.yaml"], "missing.yaml"),
        (["train"], "recipe"),
        (["evaluate", "nowhere"], "no run here"),
        (["evaluate"], "runs"),
        (["show", "augmx"], "did you mean 'augmix'"),
        (["list", "recipes"], "did you mean 'recipe'"),
        (["cite", "augmx"], "did you mean 'augmix'"),
    ],
    ids=" ".join,
)
def test_bad_input(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert text in complaint(capsys, *arguments)
    finally:
        os.chdir(before)
    assert not list(tmp_path.rglob("*.yaml"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "one"
    assert main(["train", "standard", *TINY, "--out", str(out)]) == 0
    return out


def test_another_recipe_seed_or_data_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    out = ["--out", str(trained)]
    assert "another recipe" in complaint(capsys, "train", "augmix", *TINY, *out)
    assert "other seeds" in complaint(capsys, "train", "standard", *TINY, *out, "--seed", "5")
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_a_directory_that_is_no_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("")
    assert "not empty" in complaint(capsys, "train", "standard", *TINY, "--out", str(tmp_path))
    (tmp_path / "file").write_text("")
    assert "cannot write" in complaint(capsys, "train", "standard", *TINY, "--out", str(tmp_path / "file" / "run"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == ["file", "thesis.tex"]


def test_a_loss_that_is_not_finite_leaves_a_run_without_a_bad_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    wild = ["--set", "train.optimizer.lr=1e30", "--checkpoint-seconds", "0"]
    assert "the loss is" in complaint(capsys, "train", "standard", *TINY, *wild, "--out", str(out))
    for weights in out.rglob("weights.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(weights).values())
    assert not list(out.rglob("*.tmp"))


def copy_with(trained: Path, tmp_path: Path, name: str, write: object) -> Path:
    """A copy of the run with one file of its checkpoint replaced."""
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(trained, out)
    (place,) = (out / "checkpoint").iterdir()
    write(place / name)  # type: ignore[operator]
    return out


def test_weights_of_another_architecture(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = copy_with(trained, tmp_path, "weights.safetensors", lambda path: save_file({"a": torch.ones(2)}, path))
    assert "another architecture" in complaint(capsys, "evaluate", str(out))
    assert not (out / "evaluation.json").exists()


class Harm:
    """What a hostile checkpoint would hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_that_wants_to_run_code(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harm = tmp_path / "harm"
    again = ["train", "standard", *TINY, "--out"]
    out = copy_with(trained, tmp_path, "optimizer.pt", lambda path: path.write_bytes(pickle.dumps(Harm(harm))))
    assert "refusing" in complaint(capsys, *again, str(out))
    assert not harm.exists()
    (place,) = (out / "checkpoint").iterdir()
    torch.save({"state": Harm(harm)}, place / "optimizer.pt")
    assert "refusing" in complaint(capsys, *again, str(out))
    assert not harm.exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.pt", "progress.json"])
def test_a_damaged_checkpoint_is_named(
    name: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copy_with(
        trained, tmp_path, name, lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    )
    assert str(out) in complaint(capsys, "train", "standard", *TINY, "--out", str(out))


def test_a_full_disk_leaves_no_half_written_checkpoint(tmp_path: Path) -> None:
    # The system refuses files above a size, as it would on a full disk: recipe and manifest fit, weights do not.
    code = f"""
import resource, signal, sys
from elinvar.check import warn
from elinvar.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import elinvar.train.checkpoint
save = elinvar.train.checkpoint.save
def limited(*arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    return save(*arguments)
elinvar.train.checkpoint.save = limited
sys.exit(main(["train", "standard", *{TINY!r}, "--out", {str(tmp_path / "run")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert not list((tmp_path / "run" / "checkpoint").glob("step-*"))


def test_a_run_that_died_before_its_first_step_begins_again(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text((trained / "manifest.json").read_text())
    assert main(["train", "standard", *TINY, "--out", str(tmp_path)]) == 0


def test_another_way_to_compute_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        other = ["--threads", str(threads + 1)]
        assert "other compute" in complaint(capsys, "train", "standard", *TINY, *other, "--out", str(trained))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("origin", ['"digits"', "{}", '{"spec": 3}', "null"])
def test_a_strange_manifest_is_one_clear_line(
    origin: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copy_with(trained, tmp_path, "progress.json", lambda path: None)
    (out / "manifest.json").write_text(f'{{"origin": {origin}, "seeds": {{"base": 0}}}}')
    assert "--data" in complaint(capsys, "evaluate", str(out))


def test_results_go_to_the_output_and_progress_to_the_error_stream(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(trained), "--suites", "clean"]) == 0
    printed = capsys.readouterr()
    assert "clean error" in printed.out
    assert "report:" in printed.err


def test_two_processes_do_not_share_a_run(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from elinvar.train import Run
    from elinvar.train import run as run_module

    monkeypatch.setattr(run_module, "PATIENCE", 0.3)
    with Run(trained).owned():
        assert "another process" in complaint(capsys, "train", "standard", *TINY, "--out", str(trained))


def test_a_warning_is_one_line_of_the_program_and_comes_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(arguments: list[str]) -> int:
        for _ in range(2):
            warn("these images are nearly black")
        return 0

    monkeypatch.setattr("elinvar.cli.listing.run", run)
    assert main(["list"]) == 0
    assert capsys.readouterr().err == "elinvar: warning: these images are nearly black\n"


def test_a_warning_names_the_line_of_the_user() -> None:
    code = "from elinvar.check import warn\nwarn('look here')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("<string>:2: InputWarning: look here")
