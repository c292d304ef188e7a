"""Fourier basis images against numpy's transform, and low-pass filters against theirs."""

from inspect import unwrap

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from elinvar.check import InputError
from elinvar.shift import fourier_basis, fourier_images, low_pass

SIZES = [(4, 4), (5, 5), (32, 32), (6, 9), (1, 1), (2, 1)]


def partner(place: int, side: int) -> int:
    return (side - place) % side if side % 2 == 0 else side - 1 - place


def by_transform(i: int, j: int, height: int, width: int, phase: str) -> NDArray[np.float64]:
    """One basis image by the inverse transform of a spectrum with one or two entries."""
    first, second = (i, j), (partner(i, height), partner(j, width))
    if second < first:
        first, second = second, first
    spectrum = np.zeros((height, width), complex)
    if first == second:
        spectrum[first] = 1
    else:
        value = 0.5 + 0.5j if phase == "diagonal" else np.sqrt(0.5)
        spectrum[first], spectrum[second] = value, np.conj(value)
    image = np.fft.ifft2(np.fft.ifftshift(spectrum)) * np.sqrt(height * width)
    assert np.abs(image.imag).max() < 1e-12
    return np.asarray(image.real)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("phase", ["diagonal", "cosine"])
def test_each_image_is_the_transform_of_a_pair_of_frequencies(size: tuple[int, int], phase: str) -> None:
    basis = fourier_basis(size, phase=phase).numpy()  # type: ignore[arg-type]
    for i in range(size[0]):
        for j in range(size[1]):
            np.testing.assert_allclose(basis[i, j], by_transform(i, j, *size, phase), atol=1e-7)


@pytest.mark.parametrize("size", SIZES)
def test_images_have_unit_norm_and_pairs_share_one(size: tuple[int, int]) -> None:
    basis = fourier_basis(size)
    assert basis.dtype == torch.float32
    assert torch.allclose(basis.flatten(2).double().norm(dim=2), torch.ones(size, dtype=torch.float64), atol=1e-6)
    for i in range(size[0]):
        for j in range(size[1]):
            assert torch.equal(basis[i, j], basis[partner(i, size[0]), partner(j, size[1])])


@pytest.mark.parametrize(("size", "different"), [(32, 514), (5, 13), (4, 10)])
def test_different_images_are_orthonormal(size: int, different: int) -> None:
    flat = fourier_basis(size).view(size * size, -1).double()
    first = {min(i * size + j, partner(i, size) * size + partner(j, size)) for i in range(size) for j in range(size)}
    chosen = flat[sorted(first)]
    assert len(chosen) == different
    assert torch.allclose(chosen @ chosen.T, torch.eye(different, dtype=torch.float64), atol=1e-6)


def test_the_centre_is_constant_and_the_corner_alternates() -> None:
    basis = fourier_basis(8)
    assert torch.equal(basis[4, 4], torch.full((8, 8), 0.125))
    signs = (-1.0) ** (torch.arange(8).unsqueeze(1) + torch.arange(8))
    assert torch.allclose(basis[0, 0], 0.125 * signs)


def test_some_images_of_a_large_size() -> None:
    images = fourier_images(torch.tensor([[0, 0], [-3, 100], [3, -100], [-112, -112]]), 224)
    assert torch.equal(images[1], images[2])
    assert torch.allclose(images.flatten(1).double().norm(dim=1), torch.ones(4, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(images[3].abs(), torch.tensor(1 / 224))


def test_mistakes_of_bases_are_answered() -> None:
    with pytest.raises(InputError, match="a basis of 224x224 does not fit"):
        fourier_basis(224)
    for bad in (0, (3, -1)):
        with pytest.raises(InputError, match="integers of at least 1"):
            fourier_basis(bad)
    with pytest.raises(InputError, match="'diagonal' or 'cosine'"):
        unwrap(fourier_images)(torch.zeros(1, 2, dtype=torch.int64), 4, phase="sine")
    for frequencies in ([[2, 0]], [[0, -3]]):
        with pytest.raises(InputError, match="within the spectrum of 4x4"):
            fourier_images(torch.tensor(frequencies), 4)


def masked(images: Tensor, bandwidth: int) -> NDArray[np.float64]:
    """The low-pass filter by numpy's transform."""
    height, width = images.shape[2:]
    spectrum = np.fft.fft2(images.double().numpy())
    k_y, k_x = np.fft.fftfreq(height, 1 / height).round(), np.fft.fftfreq(width, 1 / width).round()
    keep = (np.abs(k_y)[:, None] <= bandwidth / 2) & (np.abs(k_x) <= bandwidth / 2)
    filtered = np.fft.ifft2(spectrum * keep)
    assert np.abs(filtered.imag).max() < 1e-12
    return np.asarray(filtered.real)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [(32, 32), (9, 14), (7, 7)])
@pytest.mark.parametrize("bandwidth", [1, 2, 3, 4, 7, 8, 9, 13, 14, 31, 32, 50])
def test_low_pass_against_a_transform(size: tuple[int, int], bandwidth: int) -> None:
    images = noise(2, 3, *size)
    np.testing.assert_allclose(low_pass(images, bandwidth), masked(images, bandwidth), atol=1e-12)
    np.testing.assert_allclose(low_pass(images.float(), bandwidth), masked(images, bandwidth), atol=2e-6)


def test_low_pass_is_a_projection() -> None:
    images = noise(2, 3, 16, 16)
    energy = 0.0
    for bandwidth in range(1, 17):
        once = low_pass(images, bandwidth)
        assert torch.allclose(low_pass(once, bandwidth), once, atol=1e-12)
        assert once.square().sum() >= energy - 1e-9
        energy = float(once.square().sum())
    assert torch.equal(low_pass(images, 16), images)
    assert torch.allclose(low_pass(images, 1), images.mean((2, 3), keepdim=True).expand_as(images))


def test_low_pass_keeps_what_is_inside_the_band_and_removes_the_rest() -> None:
    basis = fourier_basis(16).double().view(-1, 1, 16, 16)
    k = torch.arange(16) - 8
    inside = ((k.abs().unsqueeze(1) <= 2) & (k.abs() <= 2)).flatten()
    kept = low_pass(basis, 5)
    assert torch.allclose(kept[inside], basis[inside], atol=1e-7)
    assert kept[~inside].abs().max() < 1e-7


def test_low_pass_keeps_dtype_and_clips_if_asked() -> None:
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 1
    assert low_pass(edge, 5).amax() > 1.05
    assert 0 <= low_pass(edge, 5, clip=True).amin() <= low_pass(edge, 5, clip=True).amax() <= 1
    levels = (edge * 255).to(torch.uint8)
    assert torch.equal(low_pass(levels, 5), (low_pass(edge, 5, clip=True) * 255).round().to(torch.uint8))
    assert low_pass(edge.bfloat16(), 5).dtype == torch.bfloat16
    assert low_pass(3 * edge - 7, 5).amin() < -7  # any range
    assert torch.equal(low_pass(levels, 8), levels)


def test_mistakes_of_low_pass_are_answered() -> None:
    images = noise(1, 1, 4, 4)
    for bad in (0, -1, True):
        with pytest.raises(InputError, match="bandwidth: got"):
            low_pass(images, bad)
    with pytest.raises(InputError, match="expected uint8, or floating point"):
        low_pass(torch.zeros(1, 1, 4, 4, dtype=torch.int64), 3)
    with pytest.raises(InputError, match=r"expected \(N, C, H, W\)"):
        unwrap(low_pass)(images[0], 3)
