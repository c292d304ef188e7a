"""A run meets other data: its classes are the run's by name, or one line says why not.

The kind: a number that is right for other classes. Tried from the command line: the same folders; the same names, in an
order that a run has which was trained on another order; other names; one added and one gone; some of the classes,
refused and allowed, and under attack; corrupted files; runs from before names were kept, on their own data, on other
data and with another number of classes; folders called by numbers as such a run was trained on them, evaluated and
resumed; resuming with other classes; tuning; models that name their classes and models that do not.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from elinvar.check import InputError
from elinvar.cli.main import main
from elinvar.config import override
from elinvar.data import DataSet, load, match_classes
from elinvar.data.matching import in_text_order
from elinvar.infer import Evaluation, Predictor
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer, Model, Recipe
from elinvar.recipes import standard
from elinvar.rng import Seeds
from elinvar.train import Run, class_names, evaluate, fit, matched
from elinvar.train.loop import trained_model

COLOURS = {"blue": (40, 40, 220), "green": (40, 220, 40), "red": (220, 40, 40)}
CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
SIZE = ("--size", "16")


def recipe(epochs: int = 3) -> Recipe:
    base = standard(epochs=epochs)
    train = replace(base.train, shared=(), batch_size=9, precision=Precision.FLOAT32)
    return override(replace(base, model=Model(name="wrn-10-1"), train=train), ["train.optimizer.lr=0.05"])


def paint(root: Path, labels: Mapping[str, str], count: int = 6, noise: float = 30.0) -> Path:
    """train/ and test/ with a folder of pictures of one colour for each label."""
    draws = np.random.default_rng(0)
    for part in ("train", "test"):
        for label, colour in labels.items():
            folder = root / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.array(COLOURS[colour]) + draws.normal(0, noise, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return root


def read(root: Path) -> DataSet:
    return load(f"folder:{root}", size=16)


def trained(out: Path, data: DataSet, root: Path) -> Path:
    origin = {"spec": f"folder:{root}", "size": 16}
    assert fit(recipe(), data, Run(out), seeds=Seeds(0), compute=CPU, origin=origin)
    return out


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("home") / "home", {name: name for name in COLOURS})


@pytest.fixture(scope="module")
def source(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "run", read(home), home)


@pytest.fixture
def run(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "run"))


@pytest.fixture
def judge(run: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """The evaluation of the run on a folder, and what was said; only the text of an error."""

    def on(root: Path, *more: str, what: Path | str = run) -> tuple[dict[str, Any] | None, str]:
        code = main(["evaluate", str(what), "--data", f"folder:{root}", *SIZE, "--suites", "clean", "--json", *more])
        printed = capsys.readouterr()
        return (json.loads(printed.out)[0] if code == 0 else None), printed.err

    return on


def manifest(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((run / "manifest.json").read_text())
    change(content)
    (run / "manifest.json").write_text(json.dumps(content))


def forget(run: Path, **data: object) -> None:
    """Make the manifest one from before names were kept."""

    def change(content: dict[str, Any]) -> None:
        del content["data"]["classes"]
        content["data"] |= data

    manifest(run, change)


def test_runs_keep_the_names_of_their_classes(run: Path) -> None:
    assert class_names(Run(run)) == ("blue", "green", "red")


def test_the_same_names_in_another_order_are_matched(
    home: Path, judge: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = match_classes(read(home), ("red", "green", "blue"), whose="it")
    out = trained(tmp_path / "turned", turned, home)
    assert class_names(Run(out)) == ("red", "green", "blue")
    found, said = judge(home, what=out)
    assert found["clean"]["error"] == 0.0
    assert f"the classes of {out} are in another order; they are matched by name" in said
    with pytest.raises(InputError, match=r"use train.matched\(run, data\)"):
        evaluate(Run(out), recipe(), read(home), CPU, suites=("clean",))
    again = evaluate(Run(out), recipe(), matched(Run(out), read(home)), CPU, suites=("clean",))
    assert again.clean.error == 0.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"rot": "red", "gruen": "green", "blau": "blue"}, "blau, gruen, rot; missing: blue, green, red"),
        ({"blue": "blue", "green": "green", "scarlet": "red"}, ": scarlet; missing: red"),
        ({**{name: name for name in COLOURS}, "yellow": "red"}, "4 classes, those of .* are 3; .*: yellow;"),
    ],
)
def test_other_names_are_refused(
    labels: dict[str, str], message: str, judge: Callable[..., Any], tmp_path: Path
) -> None:
    root = paint(tmp_path / "other", labels)
    for more in ((), ("--subset-of-classes",)):
        found, said = judge(root, *more)
        assert found is None
        assert said.count("\n") == 1
        for part in message.split(" .* "):
            assert part.split(".*: ")[-1] in said


def test_some_classes_are_refused_or_judged_by_their_outputs_alone(
    run: Path, judge: Callable[..., Any], tmp_path: Path
) -> None:
    """The right error is computed here from the logits: of every second picture blue is the largest."""
    root = paint(tmp_path / "some", {"green": "green", "red": "red"})
    for part in ("train", "test"):
        for number in range(0, 6, 2):
            shutil.copy(root / part / "green" / "1.png", root / part / "red" / f"{number}.png")
    shutil.rmtree(root / "test" / "green")
    paint(tmp_path / "blues", {"blue": "blue"}, noise=90.0)
    shutil.copytree(tmp_path / "blues" / "test" / "blue", root / "test" / "green")
    found, said = judge(root)
    assert found is None
    assert "some: 2 classes, those of" in said
    assert (
        "missing: blue; 'elinvar evaluate' judges on these classes and outputs alone with --subset-of-classes" in said
    )

    found, said = judge(root, "--subset-of-classes")
    data = read(root)
    logits, targets = Predictor(
        trained_model(recipe(), matched(Run(run), data, subset=True), Run(run), CPU), Infer(), CPU
    ).batches(data.test.batches(torch.arange(12), 12, workers=0))
    assert logits.shape == (12, 3)
    best = logits[:, 1:].argmax(1)
    expected = float((best != targets).float().mean())
    assert float((logits.argmax(1) != targets + 1).float().mean()) > expected > 0
    assert found["clean"]["error"] == pytest.approx(100 * expected)
    chosen = logits[:, 1:].log_softmax(1)[torch.arange(12), targets]
    assert found["clean"]["nll"] == pytest.approx(-float(chosen.mean()), rel=1e-5)
    assert found["data"] == "some (2 of 3 classes)"
    assert found["about"]["classes"] == "2 of 3 classes: green, red"
    assert "judged on 2 of the 3 classes of" in said
    page = (run / "report.html").read_text()
    assert "some (2 of 3 classes)" in page
    assert "2 of 3 classes: green, red" in page


def test_what_was_predicted_for_some_classes_is_not_taken_for_all(
    home: Path, judge: Callable[..., Any], tmp_path: Path
) -> None:
    root = paint(tmp_path / "some", {"green": "green", "red": "red"})
    two, _ = judge(root, "--subset-of-classes")
    three, _ = judge(home)
    again, _ = judge(root, "--subset-of-classes")
    assert (two["clean"]["nll"], two["clean"]["n"]) == (again["clean"]["nll"], again["clean"]["n"])
    assert three["clean"]["n"] == 18


def test_attacks_meet_the_outputs_that_count(run: Path, judge: Callable[..., Any], tmp_path: Path) -> None:
    root = paint(tmp_path / "some", {"green": "green", "red": "red"})
    more = ("--subset-of-classes", "--suites", "clean,attacks,calibration", "--attack-images", "4")
    found, _ = judge(root, *more)
    assert found["attacks"]["results"]["natural"]["n"] == 4
    assert found["calibration"]["clean"]["brier"] < 2
    assert found["data"] == "some (2 of 3 classes)"


def test_runs_from_before_names_were_kept(home: Path, run: Path, judge: Callable[..., Any], tmp_path: Path) -> None:
    forget(run)
    found, said = judge(home)
    assert found["clean"]["error"] == 0.0
    assert "warning" not in said
    moved = paint(tmp_path / "moved", {name: name for name in COLOURS}, noise=20.0)
    found, said = judge(moved)
    assert found["clean"]["error"] == 0.0
    assert "an older run, which keeps no names of classes" in said
    found, said = judge(paint(tmp_path / "some", {"green": "green", "red": "red"}))
    assert found is None
    assert "2 classes, " in said
    assert "has 3; name other data" in said
    data = read(home)
    assert not fit(recipe(), data, Run(run), seeds=Seeds(0), compute=CPU)


def test_folders_called_by_numbers_stay_what_an_old_run_was_trained_on(
    judge: Callable[..., Any], tmp_path: Path
) -> None:
    labels = {"1": "blue", "2": "green", "10": "red"}
    root = paint(tmp_path / "numbers", labels)
    data = read(root)
    before = in_text_order(data)
    assert before is not None
    assert (data.classes, before.classes) == (("1", "2", "10"), ("1", "10", "2"))
    out = trained(tmp_path / "old", before, root)
    forget(out)
    found, said = judge(root, what=out)
    assert found["clean"]["error"] == 0.0
    assert "warning" not in said
    assert "are ordered as numbers" in said
    assert not fit(recipe(), data, Run(out), seeds=Seeds(0), compute=CPU)  # it is the same run
    new = trained(tmp_path / "new", data, root)
    assert judge(root, what=new)[0]["clean"]["error"] == 0.0


def test_other_classes_do_not_resume(home: Path, run: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "home"
    shutil.copytree(home, renamed)
    for part in ("train", "test"):
        (renamed / part / "red").rename(renamed / part / "rot")
    with pytest.raises(InputError, match=r"other data .* not among those of the run: rot; missing: red") as caught:
        fit(recipe(), read(renamed), Run(run), seeds=Seeds(0), compute=CPU)
    assert "\n" not in str(caught.value)
    some = matched(Run(run), read(paint(tmp_path / "some", {"green": "green", "red": "red"})), subset=True)
    with pytest.raises(InputError, match="only some classes of a model"):
        fit(recipe(), some, Run(tmp_path / "new"), seeds=Seeds(0), compute=CPU)


def test_tuning_wants_the_classes_of_the_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = paint(tmp_path / "other", {"blue": "blue", "green": "green", "scarlet": "red"})
    assert main(["tune", str(run), "--data", f"folder:{other}"]) == 2
    assert "not among those of" in capsys.readouterr().err


def test_corrupted_files_agree_with_the_classes_of_a_run(home: Path, judge: Callable[..., Any], tmp_path: Path) -> None:
    turned = trained(tmp_path / "turned", match_classes(read(home), ("red", "green", "blue"), whose="it"), home)
    target = tmp_path / "npy"
    assert main(["corrupt", f"folder:{home}", str(target), *SIZE, "--corruptions", "extra"]) == 0
    found, _ = judge(home, "--suites", "clean,extra", "--corrupted", str(target), what=turned)
    assert min(map(min, found["extra"]["errors"].values())) == 0.0  # never of classes in a wrong order


class Colours(nn.Module):
    """Tells by the mean of the channels which one is the largest: red, green, blue."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


class Named(Colours):
    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"label_names": ["red", "green", "blue"]}


def other(judge: Callable[..., Any], kind: str, root: Path, out: Path, *more: str) -> Any:
    plain = ("--mean", "0,0,0", "--std", "1,1,1", "--out", str(out))
    return judge(root, *plain, *more, what=f"{__name__}:{kind}")


def test_models_that_name_their_classes_are_matched_and_others_told(
    home: Path, judge: Callable[..., Any], tmp_path: Path
) -> None:
    found, said = other(judge, "Named", home, tmp_path / "a")
    assert found["clean"]["error"] == 0.0
    assert "matched by name" in said
    found, said = other(judge, "Colours", home, tmp_path / "b")
    assert found["clean"]["error"] == pytest.approx(200 / 3)
    assert "its outputs are taken in the order of the classes of home: blue, green, red" in said
    some = paint(tmp_path / "some", {"green": "green", "red": "red"})
    found, said = other(judge, "Named", some, tmp_path / "c", "--subset-of-classes")
    assert (found["clean"]["error"], found["data"]) == (0.0, "some (2 of 3 classes)")
    assert other(judge, "Named", some, tmp_path / "d")[0] is None
    found, said = other(judge, "Colours", some, tmp_path / "e", "--subset-of-classes")
    assert found is None
    assert "does not say what its classes are called" in said
    codes = paint(tmp_path / "codes", {"n01": "red", "n02": "green", "n03": "blue"})
    found, said = other(judge, "Named", codes, tmp_path / "f")
    assert found["clean"]["error"] == 0.0
    assert "its outputs, which it calls red, green, blue, are taken in the order of" in said


def test_weights_with_names_beside_them_are_matched(
    run: Path, home: Path, judge: Callable[..., Any], tmp_path: Path
) -> None:
    model = trained_model(recipe(), read(home), Run(run), CPU)
    state = {key: value.flip(0) if ".fc." in key else value for key, value in model.state_dict().items()}
    for name, metadata in (("named", {"classes": json.dumps(["red", "green", "blue"])}), ("plain", {})):
        path = tmp_path / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, path, metadata=metadata)
        found, said = judge(home, "--model", "wrn-10-1", "--out", str(tmp_path), what=path)
        assert found["clean"]["error"] == (0.0 if name == "named" else pytest.approx(200 / 3))
        assert ("matched by name" if name == "named" else "are taken in the order of") in said


def test_an_evaluation_of_some_classes_can_be_read_back(run: Path, judge: Callable[..., Any], tmp_path: Path) -> None:
    judge(paint(tmp_path / "some", {"green": "green", "red": "red"}), "--subset-of-classes")
    assert Evaluation.read(run / "evaluation.json").data == "some (2 of 3 classes)"


def test_weights_of_another_number_of_classes_are_refused_with_the_number(
    run: Path, home: Path, judge: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "plain.safetensors"
    save_file(trained_model(recipe(), read(home), Run(run), CPU).state_dict(), path)
    some = paint(tmp_path / "some", {"green": "green", "red": "red"})
    found, said = judge(some, "--model", "wrn-10-1", "--out", str(tmp_path), what=path)
    assert found is None
    assert "; the model was made for the 2 classes of some" in said
