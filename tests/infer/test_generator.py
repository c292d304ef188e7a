"""Whose constants, in which flavour, in which number format: part of what is kept, and told with every number.

Tried: sets by name on images of another size, the flavour, both in corruptions and in sequences, a plain evaluation
after either (never what the other left), `corrupt` into a folder of another set, options where nothing is generated,
unknown names, and the number format of a run that was trained in another one.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import data, shift
from elinvar.check import InputError
from elinvar.cli.main import main
from elinvar.data import Generator, read_corrupted, write_corrupted
from elinvar.infer import Evaluation, Generated, GeneratedFrames, Predictor, record
from elinvar.precision import Compute, Precision, whole_products
from elinvar.recipe import Infer

CPU = torch.device("cpu")
EXACT, HALF = (Compute.choose(CPU, precision) for precision in (Precision.FLOAT32, Precision.BFLOAT16))
FEW = data.subset(data.load("digits"), train=30, test=12)
TINY = ["--set", "model.name=wrn-10-1", "--set", "train.epochs=1", "--set", "train.batch_size=500", "--size", "8"]
Capture = pytest.CaptureFixture[str]


class Counting(nn.Module):
    """A linear model that counts its images."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0
        self.fc = nn.Linear(3072, 10)
        nn.init.normal_(self.fc.weight, generator=torch.Generator().manual_seed(0))

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images)
        logits: Tensor = self.fc((images / 255 if images.dtype == torch.uint8 else images).flatten(1))
        return logits


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Generator(), ["the constants of CIFAR-10-C; own"]),
        (Generator(constants="tiny-imagenet"), ["Tiny-ImageNet-C, made for 64 pixels (these have 32x32)"]),
        (Generator(constants="imagenet-299"), ["ImageNet-C-299, made for 299 pixels"]),
        (Generator(flavour="published"), ["CIFAR-10-C, with the accidents of their generator"]),
    ],
    ids=str,
)
def test_corruptions_say_whose_constants_they_have(how: Generator, words: list[str]) -> None:
    source = Generated(FEW.test, how)
    assert all(word in source.about for word in words)
    told = source.identity("fog")
    assert (told["constants"], told["flavour"]) == (how.constants or "cifar-10", how.flavour)
    batch = next(source.batches("contrast", 2, 12, CPU))
    (plain,) = FEW.test.batches(torch.arange(12), 12, workers=0)
    assert torch.equal(batch.images, shift.corrupt(plain.images, "contrast", 2, key=0, constants=how.constants))


def test_sequences_say_whose_constants_they_have() -> None:
    plain, other = GeneratedFrames(FEW.test), GeneratedFrames(FEW.test, Generator(None, "tiny-imagenet", "published"))
    assert "constants of CIFAR-10-P, own draws, in the sensible flavour" in plain.about
    assert "Tiny-ImageNet-P, made for 64 pixels (these have 32x32)" in other.about
    assert "published flavour" in other.about
    assert plain.identity("rotate") != other.identity("rotate")
    (batch,) = FEW.test.batches(torch.arange(12), 12, workers=0)
    frames = torch.stack(list(other.frames("scale", batch)), 1)
    expected = shift.perturb(batch.images, "scale", key=0, constants="tiny-imagenet", flavour="published")
    assert torch.equal(frames, expected)
    assert len(list(other.frames("translate", batch))) == 31


def test_what_one_set_left_is_not_read_for_another(tmp_path: Path) -> None:
    model = Counting()

    def judged(how: Generator, compute: Compute = EXACT) -> tuple[Evaluation, int]:
        before = model.images
        found = record(
            Predictor(model, Infer(), compute), FEW, tmp_path, name="one", suites=["clean", "extra"],
            images=Generated(FEW.test, how),
        )  # fmt: skip
        return found, model.images - before

    first, many = judged(Generator())
    assert many == 12 * 22
    assert judged(Generator())[1] == judged(Generator(constants="cifar-10"))[1] == 12, "a few images"
    second, many = judged(Generator(constants="tiny-imagenet"))
    assert many == 12 * 21
    assert second.extra is not None
    assert first.extra is not None
    assert second.extra.pooled != first.extra.pooled
    assert judged(Generator(constants="tiny-imagenet", flavour="published"))[1] == 12 * 21
    found, many = judged(Generator(), HALF)
    assert many == 12 * 22
    assert (first.about["precision"], found.about["precision"]) == ("float32", "bfloat16")


def test_a_folder_holds_one_set(tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"classes": FEW.classes, "names": ("contrast",), "severities": (1,)}
    made = write_corrupted(FEW.test, tmp_path, generator=Generator(constants="tiny-imagenet"), **wanted)
    assert (made["constants"], made["flavour"]) == ("tiny-imagenet", "sensible")
    assert "Tiny-ImageNet-C" in made["about"]
    with pytest.raises(InputError, match="holds a set with other constants"):
        write_corrupted(FEW.test, tmp_path, **wanted)
    with pytest.raises(InputError, match=r"holds a set with other constants .*, flavour"):
        write_corrupted(FEW.test, tmp_path, generator=Generator(flavour="published"), **wanted)
    files = read_corrupted(tmp_path, classes=FEW.classes, clean=FEW.test)
    assert "Tiny-ImageNet-C" in files.about


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"constants": "cifar"}, "unknown set of constants 'cifar': did you mean 'cifar-10'"),
        ({"flavour": "exact"}, "unknown flavour 'exact'"),
    ],
    ids=str,
)
def test_unknown_names_are_refused_at_once(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Generator(**how)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose recipe says that it was trained in bfloat16, on any processor."""
    out = tmp_path_factory.mktemp("runs") / "half"
    assert main(["train", "standard", *TINY, "--set", "train.precision=FLOAT32", "--out", str(out)]) == 0
    recipe = (out / "recipe.yaml").read_text()
    assert recipe.count("precision: FLOAT32") == 1
    (out / "recipe.yaml").write_text(recipe.replace("precision: FLOAT32", "precision: BFLOAT16"))
    return out


def test_a_run_is_evaluated_in_float32(run: Path, capsys: Capture) -> None:
    capsys.readouterr()
    found = []
    for more in ([], ["--precision", "bfloat16"], ["--precision", "float32"]):
        assert main(["evaluate", str(run), "--suites", "clean", "--json", *more]) == 0
        found += json.loads(capsys.readouterr().out)
    assert [one["about"]["precision"] for one in found] == ["float32", "bfloat16", "float32"]
    assert found[0]["clean"] == found[2]["clean"]
    assert found[0]["clean"]["nll"] != found[1]["clean"]["nll"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--constants", "tiny"], "unknown set of constants 'tiny'"),
        (["--flavour", "2018"], "unknown flavour '2018'"),
        (["--suites", "clean", "--constants", "imagenet"], "--constants: is for images that are generated"),
        (["--corrupted", "DIR", "--flavour", "published"], "--flavour: is for images that are generated"),
        (["--precision", "half"], "--precision: got 'half'"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(run: Path, options: list[str], message: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(run), *options]) == 2
    assert message in capsys.readouterr().err


def test_the_command_line_passes_them_on(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    how = ["--constants", "Tiny-ImageNet-C", "--flavour", "published", "--corruptions", "contrast", "--json"]
    assert main(["corrupt", "digits", str(out), "--severities", "1", *how]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["constants"], told["flavour"]) == ("tiny-imagenet", "published")


def test_float32_multiplies_float32() -> None:
    """cuDNN's default cuts factors of convolutions; inside an evaluation it does not, and after it does again."""
    seen = []

    class Asks(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(torch.backends.cudnn.allow_tf32)
            return images.flatten(1)

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        Predictor(Asks(), Infer(), EXACT)(torch.zeros(1, 3, 2, 2))
        EXACT.forward(Asks())(torch.zeros(1, 3, 2, 2))  # as a training step runs it
        with pytest.raises(ZeroDivisionError), whole_products():
            _ = 1 / 0
        assert seen == [False, True]
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_in_one_word() -> None:
    assert [replace(EXACT, dtype=dtype).precision for dtype in (torch.float32, torch.bfloat16)] == [
        "float32",
        "bfloat16",
    ]
