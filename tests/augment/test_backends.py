"""Both back ends make the same pixels of a program; a row's pixels depend on nothing but the row."""

import weakref
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from elinvar.augment import OPS, AugMix, Program, RandomChain, apply
from elinvar.augment.backend import Backend
from elinvar.augment.batched.run import piece
from elinvar.augment.compiled.scratch import scratch

from .conftest import digits, keys, noise, photos

BACKENDS = get_args(Backend)


@pytest.mark.parametrize("severity", [1.0, 3.0, 10.0])
@pytest.mark.parametrize(
    ("count", "channels", "height", "width"), [(100, 3, 32, 32), (40, 3, 28, 40), (40, 1, 33, 17), (3, 3, 224, 224)]
)
def test_back_ends_agree(severity: float, count: int, channels: int, height: int, width: int) -> None:
    drawn = keys(count, key=int(severity))
    mixture = AugMix(severity=severity, ops="all").draw(drawn, height=height, width=width)
    pure = RandomChain(severity=severity, ops="all").draw(drawn, height=height, width=width)
    for source in (photos, digits, noise):
        images = source(count, channels, height, width)
        for program in (mixture, pure):
            # In levels. A level that a warp cut to the other side can grow: equalize and autocontrast stretch it.
            left, right = (apply(images, program, backend=backend).double() for backend in BACKENDS)
            apart = (left - right).abs() * (1 if program.pure else 255)
            assert (apart > 1e-4).float().mean() < 2e-3
            assert (apart > 1).float().mean() < 2e-4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_independent_bit_for_bit(backend: Backend, channels: int) -> None:
    images = photos(150, channels, 32, 32)
    program = AugMix(ops="all", alpha=0.5).draw(keys(150), height=32, width=32)
    whole = apply(images, program, backend=backend)
    assert apply(images, program, backend=backend).equal(whole)
    assert torch.cat([apply(images[n : n + 1], program[n], backend=backend) for n in range(20)]).equal(whole[:20])
    cuts = (slice(0, 1), slice(1, 65), slice(65, 150))
    parts = [apply(images[rows], program[rows], backend=backend) for rows in cuts]
    assert torch.cat(parts).equal(whole)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    assert apply(images[order], program[order], backend=backend).equal(whole[order])
    torch.set_num_threads(3)
    assert apply(images, program, backend=backend).equal(whole)


@pytest.mark.parametrize("backend", BACKENDS)
def test_layout_and_gradients_do_not_matter(backend: Backend) -> None:
    images = photos(8, 3, 20, 24)
    program = AugMix().draw(keys(8), height=20, width=24)
    expected = apply(images, program, backend=backend)
    assert apply(images.contiguous(memory_format=torch.channels_last), program, backend=backend).equal(expected)
    floats = (images.float() / 255).requires_grad_()
    made = apply(floats, program, backend=backend)
    assert made.equal(expected)
    assert not made.requires_grad
    assert program.weights is not None
    ops, args, weights = (torch.stack([a, a], -1)[..., 0] for a in (program.ops, program.args, program.weights))
    strided = Program(ops, args, weights)
    assert apply(images, strided, backend=backend).equal(expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_floating_point_images_are_rounded_to_256_values(backend: Backend) -> None:
    images = photos(8, 3, 20, 24)
    program = AugMix().draw(keys(8), height=20, width=24)
    expected = apply(images, program, backend=backend)
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert apply((images.double() / 255).to(dtype), program, backend=backend).equal(expected)
    shifted = ((images.double() + 0.49) / 255).clamp(max=1.0)
    assert apply(shifted, program, backend=backend).equal(expected)


def test_buffers_serve_images_of_changing_shape() -> None:
    wide, tall = photos(3, 3, 17, 40), photos(3, 1, 40, 17)
    first = apply(wide, AugMix(width=2).draw(keys(3), height=17, width=40))
    apply(tall, AugMix(width=5).draw(keys(3), height=40, width=17))
    assert apply(wide, AugMix(width=2).draw(keys(3), height=17, width=40)).equal(first)
    assert scratch(3, 17, 40, 2) is scratch(3, 17, 40, 2)


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes that tensors made inside held at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self.seen: set[int] = set()

    def _gone(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if (key := storage._cdata) not in self.seen:
                    self.seen.add(key)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, key, storage.nbytes())
                    self.most = max(self.most, self.now)
        return result


def test_batched_memory_is_bounded() -> None:
    """At most six copies of the batch as float32, the output included, whatever the operations."""
    count, shape = 24, (3, 224, 224)
    images = noise(count, *shape)
    program = AugMix().draw(keys(count), height=224, width=224)
    args = torch.full((*program.ops.shape, 7), 7.0)
    names = ("rotate", "gaussian_noise", "patch_uniform", "cutout")
    same = [Program(torch.full_like(program.ops, OPS[name].code), args, program.weights) for name in names]
    for chosen in (program, *same):
        with Peak() as peak:
            apply(images, chosen, backend="batched")
        assert images.numel() * 4 <= peak.most <= 6 * images.numel() * 4


def test_pieces_fill_a_device_and_bound_memory() -> None:
    assert piece(512, 9 * 32 * 32) == (1 << 20) // (9 * 32 * 32)  # a small batch: not less than that at once
    assert piece(64, 9 * 224 * 224) == 8  # an eighth of a large batch
    assert piece(4096, 9 * 224 * 224) == (1 << 24) // (9 * 224 * 224)
    assert piece(3, 10**9) == 1
