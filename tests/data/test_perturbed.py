"""Perturbation sequences from files: what is stored is what is read, and faulty files are named."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from elinvar import data, shift
from elinvar.check import InputError
from elinvar.data import PerturbedFiles, read_perturbed

DIGITS = data.subset(data.load("digits"), train=20, test=12)


def read(root: Path) -> PerturbedFiles:
    return read_perturbed(root, classes=DIGITS.classes, clean=DIGITS.test)


def sequences(name: str) -> np.ndarray:
    images = next(iter(DIGITS.test.batches(torch.arange(12), 12))).images
    found: np.ndarray = shift.perturb(images, name, frames=4, key=1).permute(0, 1, 3, 4, 2).numpy()
    return found


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    for name in ("translate", "snow"):
        np.save(tmp_path / f"{name}.npy", sequences(name))
    return tmp_path


def test_arrays_are_read_frame_by_frame_for_any_images(arrays: Path) -> None:
    files = read(arrays)
    assert files.names == ("snow", "translate")
    files.require(("snow", "translate"))
    index = torch.tensor([5, 0, 7])
    frames = list(files.frames("snow", index))
    assert len(frames) == 4
    expected = torch.from_numpy(sequences("snow")[index.numpy()]).permute(1, 0, 4, 2, 3)
    assert torch.equal(torch.stack(frames), expected)
    assert files.fingerprint("snow") != files.fingerprint("translate")
    assert arrays.name in files.about


def saved(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, array)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (cut, "partial"),
        (lambda path: path.unlink(), "snow missing"),
        (lambda path: np.save(path, np.array([print], dtype=object), allow_pickle=True), "plain array"),
        (saved(np.zeros((12, 4, 32, 32, 3))), "float64"),
        (saved(np.zeros((12, 4, 28, 28, 3), dtype=np.uint8)), r"expected uint8 of shape \(12, frames, 32, 32, 3\)"),
        (saved(np.zeros((12, 1, 32, 32, 3), dtype=np.uint8)), "frames"),
        (saved(np.zeros((13, 4, 32, 32, 3), dtype=np.uint8)), "holds 13 sequences"),
    ],
    ids=range(7),
)
def test_faulty_arrays_are_named(fault: Callable[[Path], None], text: str, arrays: Path) -> None:
    fault(arrays / "snow.npy")
    with pytest.raises(InputError, match=text) as raised:
        read(arrays).require(("snow",))
    assert str(arrays) in str(raised.value)


def test_a_folder_without_sequences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds neither"):
        read(tmp_path)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Files in the layout of ImageNet-P; what they hold is up to the decoder."""
    counter = dict.fromkeys(range(10), 0)
    for target in DIGITS.test.targets.tolist():
        place = tmp_path / "rotate" / DIGITS.classes[target]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{counter[target]:03d}.mp4").write_bytes(f"{target} {counter[target]}".encode())
        counter[target] += 1
    return tmp_path


class Container:
    """Three frames whose grey level is 20 times the class plus the number of the video."""

    def __init__(self, path: str) -> None:
        if "bad" in Path(path).read_text():
            raise ValueError("moov atom not found")
        target, number = map(int, Path(path).read_text().split())
        self.level = 20 * target + number

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None: ...

    def decode(self, video: int) -> list[Any]:
        def frame(time: int) -> Any:
            pixels = np.full((8, 8, 3), self.level + 5 * time, dtype=np.uint8)
            return SimpleNamespace(to_ndarray=lambda format: pixels)

        return [frame(time) for time in range(3)]


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(open=Container, error=SimpleNamespace(FFmpegError=OSError))
    monkeypatch.setitem(sys.modules, "av", made)


@pytest.mark.usefixtures("decoder")
def test_videos_belong_to_the_images_of_their_class_in_order(videos: Path) -> None:
    files = read(videos)
    assert files.names == ("rotate",)
    files.require(("rotate",))
    frames = list(files.frames("rotate", torch.arange(12)))
    assert [tuple(frame.shape) for frame in frames] == [(12, 3, 8, 8)] * 3
    targets = DIGITS.test.targets
    number = torch.tensor([int((targets[:place] == target).sum()) for place, target in enumerate(targets)])
    assert torch.equal(frames[1][:, 0, 0, 0].long(), 20 * targets + number + 5)


@pytest.mark.usefixtures("decoder")
def test_faulty_videos_are_named(videos: Path) -> None:
    first = sorted(videos.rglob("*.mp4"))[0]
    first.write_text("bad")
    with pytest.raises(InputError, match="cannot be read as a video"):
        list(read(videos).frames("rotate", torch.arange(12)))
    first.unlink()
    with pytest.raises(InputError, match="the test set has"):
        read(videos).require(("rotate",))


def test_videos_need_a_decoder(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="pip install av"):
        read(videos).require(("rotate",))
