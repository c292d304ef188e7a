"""What every mixing method keeps to: a new row of the table is tested by all of this."""

import pickle
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from torch import Tensor

from elinvar.config import to_config
from elinvar.mixing import METHODS, Method, Mix, blend, mix, partners, zero_mean
from elinvar.mixing.backend import Backend
from elinvar.mixing.base import FIRST
from elinvar.mixing.concat import VHBCPlus
from elinvar.mixing.maps import Noise
from elinvar.rng import bits, uniform

from .conftest import keys, noise
from .reference import REFERENCE

BACKENDS = get_args(Backend)
SHAPES = [(6, 3, 32, 32), (5, 1, 24, 17), (4, 3, 9, 20), (3, 2, 1, 7), (3, 3, 6, 1)]

every = pytest.mark.parametrize("name", METHODS)
on_both = pytest.mark.parametrize("backend", BACKENDS)


def convex(name: str) -> bool:
    return not METHODS[name].zero_mean


@every
@on_both
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_a_naive_reference(name: str, backend: Backend, shape: tuple[int, int, int, int]) -> None:
    method, count = METHODS[name](), shape[0]
    for key in range(4):
        drawn = keys(count, key)
        first, second = noise(*shape, dtype=torch.float64, seed=1), noise(*shape, dtype=torch.float64, seed=2)
        u = uniform(drawn, method.draws, FIRST).numpy()
        targets, others = torch.arange(count), torch.arange(count) + count
        made, soft = Mix(method, classes=2 * count, backend=backend)(
            first, targets, keys=drawn, partner=(second, others)
        )
        for i in range(count):

            def more(n: int, i: int = i, drawn: Tensor = drawn) -> NDArray[np.float64]:
                return uniform(drawn[i : i + 1], n, FIRST + method.draws)[0].numpy()

            def words(n: int, i: int = i, drawn: Tensor = drawn) -> list[int]:
                return [word % 2**64 for word in bits(drawn[i : i + 1], n, FIRST + method.draws)[0].tolist()]

            expected, weight = REFERENCE[name](first[i].numpy(), second[i].numpy(), u[i], more, words)
            # Weights are float32; the noise of noisy mixup is good to 1e-8 of a standard deviation and rounded as well.
            np.testing.assert_allclose(made[i].numpy(), expected, rtol=0, atol=2e-6 if not convex(name) else 2e-7)
            assert float(soft[i, i]) == pytest.approx(weight, abs=1e-7)
            assert float(soft[i, count + i]) == pytest.approx(1 - weight, abs=1e-7)


@every
@on_both
def test_targets_sum_to_one_and_keep_their_mass(name: str, backend: Backend) -> None:
    images = noise(64, 3, 8, 8)
    numbers = torch.arange(64) % 5
    rows = torch.rand(64, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    for targets in (numbers, rows, rows.to(torch.bfloat16)):
        _, soft = Mix(name, classes=5, backend=backend)(images, targets, keys=keys(64))
        assert soft.dtype == torch.float32
        assert float((soft.sum(1) - 1).abs().max()) <= (1e-2 if targets.dtype == torch.bfloat16 else 1e-6)
        assert 0 <= float(soft.min()) <= float(soft.max()) <= 1
    one_hot = torch.nn.functional.one_hot(numbers, 5).float()
    soft = mix(name, images, numbers, classes=5, keys=keys(64))[1]
    assert torch.allclose(mix(name, images, one_hot, keys=keys(64))[1], soft, atol=1e-7)


@every
def test_maps_are_weights_whose_mean_is_the_label(name: str) -> None:
    for size in ((3, 32, 32), (1, 24, 17), (3, 5, 1)):
        drawn = METHODS[name]().plan(keys(500), size)
        dense = drawn.map.dense(size).expand(-1, *size).double()
        assert dense.shape == (500, *size)
        assert 0 <= float(dense.min()) <= float(dense.max()) <= 1
        mean = dense.mean((1, 2, 3))
        assert torch.allclose(drawn.map.mean(size).double(), mean, atol=1e-6)
        if drawn.label is not None:
            assert 0 <= float(drawn.label.min()) <= float(drawn.label.max()) <= 1
            if not isinstance(drawn.map, Noise):  # cut off at 0 and 1
                assert torch.allclose(drawn.label.double(), mean, atol=1e-6)


@every
@on_both
def test_ones_mixed_with_zeros_are_the_label(name: str, backend: Backend) -> None:
    if not convex(name) or name == "noisy_mixup":
        pytest.skip("not a mean of the two images")
    ones, count = torch.ones(200, 3, 16, 12), 200
    made, soft = Mix(name, classes=2, backend=backend)(
        ones, torch.zeros(count, dtype=torch.int64), keys=keys(count),
        partner=(0 * ones, torch.ones(count, dtype=torch.int64)),
    )  # fmt: skip
    assert torch.allclose(made.double().mean((1, 2, 3)), soft[:, 0].double(), atol=1e-6)
    if name not in ("mixup", "vh_mixup"):
        assert bool(((made == 0) | (made == 1)).all())


@every
@on_both
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_an_image_mixed_with_itself_is_itself(name: str, backend: Backend, dtype: torch.dtype) -> None:
    images = noise(32, 3, 20, 12, dtype=dtype)
    if METHODS[name]().plan(keys(2), (3, 20, 12)).map.__dict__.get("shift") is not None:
        images = images[:, :, :1, :1].expand_as(images).contiguous()  # what moves must look the same everywhere
    targets = torch.arange(32) % 3
    made, soft = Mix(name, classes=3, backend=backend)(images, targets, keys=keys(32), partner=(images, targets))
    assert soft.equal(torch.nn.functional.one_hot(targets, 3).float())
    if convex(name):
        assert made.equal(images)


# Draws that give the first image back, and draws that give the second one (None: none do).
Ends = tuple[list[float] | None, list[float] | None]
ENDS: dict[str, Ends] = {
    "mixed_concat": ([1.0] * 4, [1.0, 0.0, 0.0, 0.0]),
    "random_2x2": ([0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 7),
    "random_square": (None, None),
    "random_row_interval": ([0.0] * 3, None),
    "random_column_interval": ([0.0] * 3, None),
    "cutmix": ([1.0] * 4, [0.0, 0.0, 0.5, 0.5]),
}


@every
@on_both
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_lambda_at_its_ends_gives_the_inputs_back(name: str, backend: Backend, dtype: torch.dtype) -> None:
    pair = noise(2, 3, 8, 8, dtype=dtype, seed=1), noise(2, 3, 8, 8, dtype=dtype, seed=2)
    method = METHODS[name](sigma=0.0) if name == "noisy_mixup" else METHODS[name]()  # type: ignore[call-arg]
    ends = ENDS.get(name, ([1.0] * method.draws, [0.0] * method.draws))
    for weight, draws, expected in zip((1.0, 0.0), ends, pair, strict=True):
        if draws is not None:
            drawn = method.draw(torch.tensor([draws, draws], dtype=torch.float64), keys(2), (3, 8, 8))
            assert drawn.map.mean((3, 8, 8)).tolist() == [weight, weight]
            assert drawn.label is None or drawn.label.tolist() == [weight, weight]
            made = blend(*pair, drawn.map, backend=backend)
            if convex(name):
                assert made.equal(expected)
            else:
                assert torch.allclose(made, zero_mean(expected), rtol=0, atol=1e-6)


@every
@on_both
def test_results_do_not_depend_on_the_batch(name: str, backend: Backend) -> None:
    first, second, drawn = noise(50, 3, 16, 16, seed=1), noise(50, 3, 16, 16, seed=2), keys(50)
    targets, others = torch.arange(50) % 7, torch.arange(50) % 6

    def run(rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        return Mix(name, classes=7, backend=backend)(
            first[rows], targets[rows], keys=drawn[rows], partner=(second[rows], others[rows])
        )

    whole = run(slice(None))
    assert all(a.equal(b) for a, b in zip(run(slice(None)), whole, strict=True))
    for cuts in ((0, 1, 33, 50), (0, 7, 14, 50)):
        parts = [run(slice(*cut)) for cut in pairwise(cuts)]
        for place in range(2):
            assert torch.cat([part[place] for part in parts]).equal(whole[place])
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    assert all(a.equal(b[order]) for a, b in zip(run(order), whole, strict=True))
    torch.set_num_threads(3)
    assert all(a.equal(b) for a, b in zip(run(slice(None)), whole, strict=True))


@every
@on_both
def test_pairs_inside_a_batch_are_mixed_as_those_of_two_streams(name: str, backend: Backend) -> None:
    images, targets, drawn = noise(30, 3, 12, 9), torch.arange(30), keys(30)
    rows = partners("permutation", uniform(drawn, 2))
    mixing = Mix(name, classes=30, backend=backend)
    made = mixing(images, targets, keys=drawn)
    expected = mixing(images, targets, keys=drawn, partner=(images[rows], targets[rows]))
    assert made[0].equal(expected[0])
    assert made[1].equal(expected[1])


@every
def test_back_ends_agree(name: str) -> None:
    for shape in (*SHAPES, (2, 3, 64, 80)):
        drawn = METHODS[name]().plan(keys(shape[0], 5), shape[1:])
        for dtype in (torch.uint8, torch.float32, torch.float64):
            first, second = noise(*shape, dtype=dtype, seed=1), noise(*shape, dtype=dtype, seed=2)
            left, right = (blend(first, second, drawn.map, backend=backend) for backend in BACKENDS)
            assert left.dtype == right.dtype
            apart = (left.double() - right.double()).abs()
            if not convex(name):
                assert float(apart.max()) < (1e-13 if dtype == torch.float64 else 1e-6)
            elif dtype == torch.uint8:
                assert float(apart.max()) <= 1
                assert float((apart > 0).double().mean()) < 1e-3
            elif isinstance(drawn.map, Noise):
                assert float(apart.max()) < 2e-7  # float32 weights from normals that differ by 1e-8
            else:
                assert float(apart.max()) <= 2 * torch.finfo(dtype).eps


@every
@on_both
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_shapes_and_inputs_are_kept(name: str, backend: Backend, dtype: torch.dtype) -> None:
    if backend == "compiled" and dtype in (torch.float16, torch.bfloat16):
        pytest.skip("has no code for half precision")
    for shape in ((4, 3, 32, 32), (3, 1, 28, 20), (1, 3, 5, 7), (0, 3, 8, 8)):
        images, targets = noise(*shape, dtype=dtype), torch.arange(shape[0])
        before = images.clone(), targets.clone()
        made, soft = Mix(name, classes=4, backend=backend)(images, targets)
        bytes_left = convex(name) or dtype != torch.uint8 or not shape[0]
        assert made.dtype == (dtype if bytes_left else torch.float32)
        assert made.shape == images.shape
        assert made.is_contiguous()
        assert soft.shape == (shape[0], 4)
        assert images.equal(before[0])
        assert targets.equal(before[1])
        strided = images.contiguous(memory_format=torch.channels_last)
        drawn = keys(shape[0])
        plain = Mix(name, classes=4, backend=backend)(images, targets, keys=drawn)[0]
        again = Mix(name, classes=4, backend=backend)(strided, targets, keys=drawn)[0]
        assert again.equal(plain) if convex(name) else torch.allclose(again, plain, rtol=1e-2, atol=1e-5)


@every
def test_values_of_any_range_are_mixed(name: str) -> None:
    """Standardized images; also ones whose sum is no float32."""
    images = (noise(16, 3, 8, 8) - 0.45) / 0.22
    if convex(name):
        made = mix(name, images, torch.zeros(16, dtype=torch.int64), classes=1, keys=keys(16))[0]
        low, high = images.amin(0), images.amax(0)
        if METHODS[name]().plan(keys(1), (3, 8, 8)).map.__dict__.get("shift") is None:
            assert bool(((made >= low) & (made <= high)).all())
        huge = torch.full((4, 3, 8, 8), 1e38)
        assert mix(name, huge, torch.zeros(4, dtype=torch.int64), classes=1)[0].equal(huge)


@every
def test_gradients_reach_the_images(name: str) -> None:
    images = noise(4, 2, 6, 5, dtype=torch.float64).requires_grad_()
    targets = torch.arange(4)
    made, _ = mix(name, images, targets, classes=4, keys=keys(4))
    assert made.requires_grad
    expected = mix(name, images.detach(), targets, classes=4, keys=keys(4))[0]
    assert torch.allclose(made.detach(), expected, atol=1e-7)
    made.square().sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    with torch.no_grad():
        assert not mix(name, images, targets, classes=4)[0].requires_grad


@every
def test_settings_travel(name: str) -> None:
    method = METHODS[name]()
    assert pickle.loads(pickle.dumps(method)) == method
    assert hash(method) == hash(pickle.loads(pickle.dumps(method)))
    with pytest.raises(AttributeError):
        method.anything = 1  # type: ignore[attr-defined]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--method", type=Method)
    text = yaml.safe_dump({"method": to_config(method)})
    assert parser.instantiate(parser.parse_object(yaml.safe_load(text))).method == method


@every
def test_says_what_it_does_and_where_it_is_from(name: str) -> None:
    text = METHODS[name].__doc__ or ""
    assert "Source" in text
    assert "thesis" in text or "CVPR" in text or "ICLR" in text or "ICCV" in text


def test_the_table_is_what_the_reference_has() -> None:
    assert set(METHODS) == set(REFERENCE)
    assert len(METHODS) == 17
    assert METHODS["vh_bcplus"] is VHBCPlus
