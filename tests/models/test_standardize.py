"""The input layer: exact arithmetic, dtypes, memory format, gradients, checkpoints."""

import pytest
import torch

from elinvar.check import InputError
from elinvar.models import Standardize, Standardized

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def images(*, dtype: torch.dtype = torch.uint8, shape: tuple[int, ...] = (4, 3, 8, 6)) -> torch.Tensor:
    raw = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return raw if dtype == torch.uint8 else (raw.double() / 255).to(dtype)


def expected(x: torch.Tensor) -> torch.Tensor:
    rows = [(x[:, c].double() - MEAN[c]) / STD[c] for c in range(3)]
    return torch.stack(rows, 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_is_the_channelwise_affine_map(dtype: torch.dtype) -> None:
    x = images(dtype=dtype)
    y = Standardize(MEAN, STD)(x)
    assert y.dtype == torch.float32
    scaled = x.double() / 255 if dtype == torch.uint8 else x.double()
    torch.testing.assert_close(y.double(), expected(scaled), rtol=0, atol=2e-6)


def test_uint8_and_float_images_agree_bit_for_bit() -> None:
    x = images()
    layer = Standardize(MEAN, STD)
    assert torch.equal(layer(x), layer(x.float() / 255))


def test_does_not_write_on_its_input() -> None:
    x = images(dtype=torch.float32)
    before = x.clone()
    Standardize(MEAN, STD)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_keeps_channels_last(dtype: torch.dtype) -> None:
    x = images(dtype=dtype).contiguous(memory_format=torch.channels_last)
    layer = Standardize(MEAN, STD)
    y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not y.is_contiguous()
    assert torch.equal(y, layer(x.contiguous()))


def test_a_cast_layer_computes_in_its_own_dtype() -> None:
    y = Standardize(MEAN, STD).double()(images())
    assert y.dtype == torch.float64
    assert Standardize(MEAN, STD).bfloat16()(images()).dtype == torch.bfloat16


def test_autocast_leaves_it_in_float32() -> None:
    layer = Standardize(MEAN, STD)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(images())
    assert y.dtype == torch.float32
    assert torch.equal(y, layer(images()))


def test_gradient_has_the_unit_of_a_pixel() -> None:
    x = images(dtype=torch.float32).requires_grad_()
    Standardize(MEAN, STD)(x).sum().backward()
    assert x.grad is not None
    for channel in range(3):
        torch.testing.assert_close(x.grad[:, channel], torch.full((4, 8, 6), 1 / STD[channel]))


def test_values_travel_with_the_checkpoint() -> None:
    source = Standardized(Standardize(MEAN, STD), torch.nn.Flatten())
    target = Standardized(Standardize((0.0,) * 3, (1.0,) * 3), torch.nn.Flatten())
    assert list(source.state_dict()) == ["standardize.mean", "standardize.std"]
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(images()), source(images()))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((), (), "one number for each channel"),
        ((0.5,), (0.5, 0.5), "one number for each channel"),
        ((0.5,), (0.0,), "std above 0"),
        ((float("nan"),), (1.0,), "finite"),
        ((0.5,), (float("inf"),), "finite"),
    ],
)
def test_refuses_bad_constants(mean: tuple[float, ...], std: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Standardize(mean, std)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 1, 8, 8), r"this model takes \(N, 3, H, W\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "dtype torch.int64"),
    ],
)
def test_refuses_other_images(x: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Standardize(MEAN, STD)(x)
