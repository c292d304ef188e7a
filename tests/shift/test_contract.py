"""What every corruption owes, row by row of the table: a new row is tested by being there."""

import pytest
import torch

from elinvar.shift import CORRUPTIONS, EXTRA, LEVELS, SEVERITY, corrupt
from elinvar.shift.table import KNOWN

from .backend import BACK_ENDS, by_kernels, by_tensors
from .images import keys, pictures

ROWS = list(KNOWN)
STOCHASTIC = [name for name, row in KNOWN.items() if row.stochastic]
GROWING = [name for name, row in KNOWN.items() if row.growing]
SIZES = [(3, 32, 32), (1, 32, 32), (3, 9, 21), (1, 40, 17), (3, 64, 64), (3, 8, 8)]


def test_the_benchmark_is_complete_and_in_its_order() -> None:
    assert list(CORRUPTIONS) == [
        "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
        "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
    ]  # fmt: skip
    assert [row.group.value for row in CORRUPTIONS.values()] == ["noise"] * 3 + ["blur"] * 4 + ["weather"] * 4 + [
        "digital"
    ] * 4
    assert list(EXTRA) == ["speckle_noise", "gaussian_blur", "spatter", "saturate"]
    assert set(SEVERITY) == {*CORRUPTIONS, *EXTRA}


@pytest.mark.parametrize("severity", LEVELS)
@pytest.mark.parametrize("name", ROWS)
def test_back_ends_agree(name: str, severity: int) -> None:
    images, key = pictures(8), keys(8)
    exact = images.double() / 255
    difference = (by_kernels(exact, name, severity, key) - by_tensors(exact, name, severity, key)).abs().max() * 255
    assert difference <= KNOWN[name].tolerance
    one, other = by_kernels(images, name, severity, key).int(), by_tensors(images, name, severity, key).int()
    assert (one - other).abs().max() <= 1
    assert (one != other).float().mean() <= 1e-3  # where a value is within rounding of a whole level


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_back_ends_agree_at_any_size(name: str, size: tuple[int, int, int]) -> None:
    images, key = pictures(2, *size), keys(2)
    if size[0] == 1 and not KNOWN[name].grey:
        return
    for severity in (1, 5):
        one, other = by_kernels(images, name, severity, key), by_tensors(images, name, severity, key)
        assert one.shape == images.shape
        assert (one.int() - other.int()).abs().max() <= 1
        assert (one != other).float().mean() <= 1e-3


@pytest.mark.parametrize("name", ROWS)
def test_back_ends_agree_at_224(name: str) -> None:
    images, key = pictures(1, 3, 224, 224), keys(1)
    exact = images.double() / 255
    for severity in (1, 2, 5):
        difference = (by_kernels(exact, name, severity, key) - by_tensors(exact, name, severity, key)).abs().max() * 255
        assert difference <= KNOWN[name].tolerance


@pytest.mark.parametrize("end", BACK_ENDS)
@pytest.mark.parametrize("name", ROWS)
def test_an_example_does_not_see_its_batch(name: str, end: str) -> None:
    run, severity = BACK_ENDS[end], 4
    images, key = pictures(24), keys(24)
    whole = run(images, name, severity, key)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(run(images[order], name, severity, key[order]), whole[order])
    parts = [run(images[a:b], name, severity, key[a:b]) for a, b in ((0, 1), (1, 10), (10, 24))]
    assert torch.equal(torch.cat(parts), whole)
    exact = images.float() / 255
    assert torch.equal(run(exact[7:9], name, severity, key[7:9]), run(exact, name, severity, key)[7:9])


@pytest.mark.parametrize("name", ROWS)
def test_one_thread_gives_the_same(name: str) -> None:
    images, key, threads = pictures(70), keys(70), torch.get_num_threads()
    whole = corrupt(images, name, 3, keys=key)
    try:
        torch.set_num_threads(1)
        assert torch.equal(corrupt(images, name, 3, keys=key), whole)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ROWS)
def test_type_shape_range_and_input_stay(name: str, dtype: torch.dtype) -> None:
    images = pictures(4) if dtype == torch.uint8 else (pictures(4).double() / 255).to(dtype)
    before = images.clone()
    result = corrupt(images, name, 4, keys=keys(4))
    assert result.dtype == dtype
    assert result.shape == images.shape
    assert torch.equal(images, before)
    assert not torch.equal(result, images)
    if dtype != torch.uint8:
        assert result.min() >= 0
        assert result.max() <= 1
    assert torch.equal(corrupt(images.mT.contiguous().mT, name, 4, keys=keys(4)), result)  # whatever the strides


@pytest.mark.parametrize("severity", LEVELS)
@pytest.mark.parametrize("name", ROWS)
def test_bytes_are_the_stored_floats(name: str, severity: int) -> None:
    images, key = pictures(8), keys(8)
    exact = corrupt(images.double() / 255, name, severity, keys=key) * 255
    stored = corrupt(images, name, severity, keys=key)
    expected = (exact + 0.5 if KNOWN[name].rounded else exact).floor()
    near = (exact - exact.round()).abs() < 1e-9  # whole levels, where 255 v / 255 may fall on either side
    assert torch.equal(stored[~near].double(), expected[~near])
    assert (stored.double() - exact).abs().max() <= 1
    single = corrupt(images.float() / 255, name, severity, keys=key).double() * 255
    assert (single - exact).abs().median() < 1e-4


@pytest.mark.parametrize("name", ROWS)
def test_keys_decide_what_is_random(name: str) -> None:
    images = pictures(1).expand(6, -1, -1, -1)
    results = corrupt(images, name, 5, keys=keys(6))
    assert torch.equal(corrupt(images, name, 5, keys=keys(6)), results)
    distinct = len({result.numpy().tobytes() for result in results})
    assert distinct == (6 if KNOWN[name].stochastic else 1)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_without_keys_the_draws_are_fresh(name: str) -> None:
    images = pictures(3)
    torch.manual_seed(3)
    first, second = corrupt(images, name, 5), corrupt(images, name, 5)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(corrupt(images, name, 5), first)


@pytest.mark.parametrize("name", ROWS)
def test_a_key_for_the_batch_is_that_of_its_rows(name: str) -> None:
    images = pictures(3)
    assert torch.equal(corrupt(images, name, 2, key=1), corrupt(images, name, 2, keys=keys(3)))


@pytest.mark.parametrize("name", GROWING)
def test_damage_grows_with_severity_at_224(name: str) -> None:
    """Mean over 6 images of 150,528 entries each. Two rise from first to last only: levels 3 and 4 of fog have one
    strength and another texture, and some grids of pixelate fit 224 pixels better than others."""
    images, key = pictures(6, 3, 224, 224, seed=2), keys(6)
    clean = images.double()
    damage = [(corrupt(images, name, s, keys=key).double() - clean).square().mean().item() for s in LEVELS]
    if name in ("fog", "pixelate"):
        damage = [damage[0], damage[-1]]
    assert damage == sorted(damage)
    assert damage[0] > 0


@pytest.mark.parametrize("name", GROWING)
def test_damage_grows_with_severity(name: str) -> None:
    """Mean over 128 images; the five levels are far enough apart for no chance to turn them round."""
    images, key = pictures(128, seed=2), keys(128)
    clean = images.double()
    damage = [(corrupt(images, name, s, keys=key).double() - clean).square().mean().item() for s in LEVELS]
    assert damage == sorted(damage)
    assert damage[0] > 0


@pytest.mark.parametrize("name", ROWS)
def test_no_images_no_result(name: str) -> None:
    assert corrupt(pictures(0), name, 1).shape == (0, 3, 32, 32)
    assert by_tensors(pictures(0), name, 1, keys(0)).shape == (0, 3, 32, 32)
