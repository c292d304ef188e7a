"""Heatmaps and low-pass curves of classifiers whose answers are known."""

import json
from inspect import unwrap

import pytest
import torch
from torch import Tensor, nn

from elinvar.check import InputError
from elinvar.rng import streams
from elinvar.shift import (
    FourierHeatmap,
    LowPassCurve,
    fourier_basis,
    fourier_heatmap,
    fourier_images,
    low_pass,
    low_pass_curve,
)

GREY = torch.full((6, 1, 8, 8), 0.5)
ZEROS = torch.zeros(6, dtype=torch.int64)


def one_if(changed: Tensor) -> Tensor:
    """Scores of two classes: class 1 where `changed`."""
    return torch.stack([~changed, changed], 1).float()


def sees(wave: Tensor, threshold: float) -> nn.Module:
    """Answers 1 when the images' part along `wave` leaves that of grey by more than `threshold`."""

    class Seer(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return one_if(((images - 0.5) * wave).sum((1, 2, 3)).abs() > threshold)

    return Seer()


def test_who_looks_at_one_frequency_errs_there_and_at_its_mirror() -> None:
    wave = fourier_images(torch.tensor([[1, -3]]), 8)[0]
    found = fourier_heatmap(sees(wave, 0.9), GREY, ZEROS, norm=1.0, clip=False)
    expected = torch.zeros(8, 8, dtype=torch.float64)
    expected[4 + 1, 4 - 3] = expected[4 - 1, 4 + 3] = 1
    assert torch.equal(found.error, expected)
    assert (found.norm, found.clip, found.images, found.size) == (1.0, False, 6, (8, 8))
    assert fourier_heatmap(sees(wave, 1.1), GREY, ZEROS, norm=1.0, clip=False).mean() == 0


class Recorder:
    """A classifier that remembers what it was shown."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.batches.append(images.clone())
        return torch.zeros(len(images), 2)


@pytest.mark.parametrize(("size", "pairs"), [((8, 8), 34), ((5, 5), 13), ((4, 7), 15)])
def test_each_image_is_shown_once_under_each_pair(size: tuple[int, int], pairs: int) -> None:
    recorder = Recorder()
    images = torch.rand(7, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fourier_heatmap(recorder, images, torch.zeros(7, dtype=torch.int64), norm=0.5, clip=False, batch_size=4)
    shown = torch.cat(recorder.batches)
    assert len(shown) == 7 * pairs
    assert max(map(len, recorder.batches)) == 4
    change = shown.view(pairs, 7, 3, *size) - images
    assert torch.allclose(change.flatten(3).norm(dim=3), torch.tensor(0.5, dtype=torch.float64), atol=1e-6)
    # one image for each pair up to its sign, orthogonal between pairs
    waves = change[:, 0, 0].flatten(1) / 0.5
    assert torch.allclose((waves @ waves.T).abs(), torch.eye(pairs, dtype=torch.float64), atol=1e-6)
    for other in range(7):
        for channel in range(3):
            overlap = (change[:, other, channel].flatten(1) * waves).sum(1) / 0.5
            assert torch.allclose(overlap, overlap[0].expand(pairs), atol=1e-6)  # one sign for all frequencies
            assert abs(abs(float(overlap[0])) - 1) < 1e-6


def test_signs_are_fair_and_independent() -> None:
    recorder = Recorder()
    images = torch.full((2000, 3, 1, 1), 0.5)
    fourier_heatmap(recorder, images, torch.zeros(2000, dtype=torch.int64), norm=0.25)
    signs = 4 * (torch.cat(recorder.batches)[:, :, 0, 0] - 0.5)
    assert torch.equal(signs.abs(), torch.ones(2000, 3))
    # means of 2,000 signs have standard error 0.022: five of them, for three channels and three products
    assert signs.mean(0).abs().max() < 0.112
    products = torch.stack([signs[:, 0] * signs[:, 1], signs[:, 0] * signs[:, 2], signs[:, 1] * signs[:, 2]])
    assert products.mean(1).abs().max() < 0.112


def test_the_batch_does_not_matter_and_keys_do() -> None:
    draws = torch.Generator().manual_seed(0)
    images, targets = torch.rand(20, 3, 8, 8, generator=draws), torch.randint(0, 5, (20,), generator=draws)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval()
    whole = fourier_heatmap(model, images, targets, norm=2.0)
    for batch_size in (1, 7, 20, 45, 1000):
        assert torch.equal(fourier_heatmap(model, images, targets, norm=2.0, batch_size=batch_size).error, whole.error)
    assert torch.equal(fourier_heatmap(model, images, targets, norm=2.0, key=0).error, whole.error)
    assert not torch.equal(fourier_heatmap(model, images, targets, norm=2.0, key=1).error, whole.error)
    # an example keeps its signs wherever it stands
    order = torch.randperm(20, generator=draws)
    shuffled = fourier_heatmap(model, images[order], targets[order], norm=2.0, keys=streams(0, order))
    assert torch.equal(shuffled.error, whole.error)
    channels_last = images.to(memory_format=torch.channels_last)
    assert torch.equal(fourier_heatmap(model, channels_last, targets, norm=2.0).error, whole.error)


def test_a_blur_hides_high_frequencies() -> None:
    blur = nn.AvgPool2d(3, 1, 1)

    def predict(images: Tensor) -> Tensor:
        return one_if((blur(images) - 0.5)[:, :, 2:-2, 2:-2].flatten(1).norm(dim=1) > 0.45)

    images = torch.full((8, 1, 16, 16), 0.5)
    found = fourier_heatmap(predict, images, torch.zeros(8, dtype=torch.int64), norm=1.0)
    assert found.bands()["low"] == 1
    assert found.bands()["low"] > found.bands()["mid"] > found.bands()["high"]
    assert found.error[0, 0] == 0


def test_clipping_weakens_the_change_of_dark_images() -> None:
    dark = torch.zeros(6, 1, 8, 8)

    def predict(images: Tensor) -> Tensor:
        return one_if(images.flatten(1).norm(dim=1) > 0.9)

    assert fourier_heatmap(predict, dark, ZEROS, norm=1.0, clip=False).mean() == 1
    assert fourier_heatmap(predict, dark, ZEROS, norm=1.0).mean() < 0.2


def test_central_frequencies_only() -> None:
    wave = fourier_images(torch.tensor([[-1, 2]]), 8)[0]
    found = fourier_heatmap(sees(wave, 0.9), GREY, ZEROS, norm=1.0, clip=False, radius=2)
    assert found.error.shape == (5, 5)
    assert found.vertical.tolist() == found.horizontal.tolist() == [-2, -1, 0, 1, 2]
    assert found.error.nonzero().tolist() == [[1, 4], [3, 0]]
    assert fourier_heatmap(sees(wave, 0.9), GREY, ZEROS, radius=0).error.shape == (1, 1)


def test_bands_of_32_pixels_and_of_others() -> None:
    k = torch.arange(32) - 16
    radius = torch.maximum(k.abs().unsqueeze(1), k.abs()).double()
    bands = FourierHeatmap(radius, 4.0, True, 1, (32, 32)).bands()
    assert bands["low"] == pytest.approx(float(radius[radius <= 3].mean()))
    assert bands["mid"] == pytest.approx(float(radius[(radius > 3) & (radius <= 10)].mean()))
    assert bands["high"] == pytest.approx(float(radius[radius > 10].mean()))
    assert set(FourierHeatmap(torch.zeros(3, 3, dtype=torch.float64), 4.0, True, 1, (224, 224)).bands()) == {"low"}


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_uint8_images_and_modes_of_the_model() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 3))
    model[2].eval()
    before = modes(model)
    levels = (GREY * 255).to(torch.uint8)
    fourier_heatmap(model, levels, ZEROS)
    low_pass_curve(model, levels, ZEROS)
    assert modes(model) == before
    assert before == [True, True, True, False]
    recorder = Recorder()
    fourier_heatmap(recorder, levels, ZEROS, norm=1e-9, radius=0)
    assert torch.allclose(recorder.batches[0], levels / 255)


def test_progress_counts_frequencies() -> None:
    calls: list[tuple[int, int]] = []
    fourier_heatmap(Recorder(), GREY, ZEROS, batch_size=12, progress=lambda *done: calls.append(done))
    assert calls == [(done, 34) for done in range(2, 35, 2)]


def test_results_travel_as_json() -> None:
    heatmap = fourier_heatmap(Recorder(), GREY, ZEROS, norm=2.0)
    again = FourierHeatmap.from_dict(json.loads(json.dumps(heatmap.to_dict())))
    assert torch.equal(again.error, heatmap.error)
    assert again.to_dict() == heatmap.to_dict()
    curve = low_pass_curve(Recorder(), GREY, ZEROS)
    assert LowPassCurve.from_dict(json.loads(json.dumps(curve.to_dict()))) == curve


def test_low_pass_curve_of_one_who_needs_a_frequency() -> None:
    wave = fourier_basis(8)[4 + 2, 4 - 3]
    images = 0.5 + 0.5 * wave.expand(6, 1, 8, 8)
    curve = low_pass_curve(sees(wave, 0.25), images, ZEROS + 1)
    assert list(curve.bandwidths) == [1, 3, 5, 7, 8]
    assert list(curve.accuracy) == [0, 0, 0, 1, 1]
    assert curve.reaches(0.95) == 7
    chosen = low_pass_curve(sees(wave, 0.25), images, ZEROS + 1, bandwidths=[6, 5], batch_size=4)
    assert list(chosen.accuracy) == [0, 1]


def test_low_pass_curve_shows_filtered_images() -> None:
    recorder = Recorder()
    images = torch.rand(5, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    calls: list[tuple[int, int]] = []
    low_pass_curve(recorder, images, ZEROS[:5], batch_size=2, progress=lambda *done: calls.append(done))
    assert torch.equal(torch.cat(recorder.batches).view(5, 5, 3, 6, 9)[1], low_pass(images, 3))
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_where_a_curve_reaches_its_end() -> None:
    assert LowPassCurve((1, 3, 5, 7), (0.99, 0.2, 0.95, 1.0), 10).reaches() == 5
    assert LowPassCurve((1, 3), (1.0, 1.0), 10).reaches() == 1
    assert LowPassCurve((1, 3), (0.0, 0.0), 10).reaches() == 1


def test_nan_is_wrong() -> None:
    found = fourier_heatmap(lambda images: torch.full((len(images), 2), float("nan")), GREY, ZEROS)
    assert found.mean() == 1


def test_mistakes_are_answered() -> None:
    def predict(images: Tensor) -> Tensor:
        return torch.zeros(len(images), 2)

    heatmap = unwrap(fourier_heatmap)
    for settings, message in (
        ({"norm": 0.0}, "norm: got 0.0"),
        ({"norm": float("nan")}, "norm: got nan"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"radius": 4}, "radius: got 4, expected 0 to 3"),
        ({"radius": -1}, "radius: got -1"),
        ({"keys": ZEROS[:3]}, "keys: got"),
    ):
        with pytest.raises(InputError, match=message):
            heatmap(predict, GREY, ZEROS, **settings)
    with pytest.raises(InputError, match="a class number for each"):
        unwrap(heatmap)(predict, GREY[:0], ZEROS[:0])
    with pytest.raises(InputError, match=r"divide 0\.\.255 images"):
        heatmap(predict, 4 * GREY, ZEROS)
    for bad in (lambda images: torch.zeros(3, 2), lambda images: images, lambda images: None):
        with pytest.raises(InputError, match="the model returned"):
            heatmap(bad, GREY, ZEROS)
    with pytest.raises(InputError, match="bandwidths: got none"):
        low_pass_curve(predict, GREY, ZEROS, bandwidths=[])
    with pytest.raises(InputError, match="bandwidth: got 0"):
        low_pass_curve(predict, GREY, ZEROS, bandwidths=[0, 3])
    with pytest.raises(InputError, match="batch_size: got 0"):
        low_pass_curve(predict, GREY, ZEROS, batch_size=0)
