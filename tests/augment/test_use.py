"""Augmentations as people use them: single images, types and layouts, layers of a model, torchvision's pipelines."""

import copy
import pickle
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from elinvar.augment import (
    OPS,
    Augmentation,
    AugMix,
    Compose,
    Cutout,
    Flip,
    PadCrop,
    Program,
    RandAugment,
    RandomChain,
    apply,
)
from elinvar.augment.backend import Backend
from elinvar.augment.opaque import result
from elinvar.check import InputError, check_images
from elinvar.rng import streams
from libraries import load

from .conftest import keys, photos

v2, tv_tensors = load("torchvision.transforms.v2"), load("torchvision.tv_tensors")

KINDS: list[Augmentation] = [AugMix(), RandAugment(), Flip(), PadCrop(), Cutout(8), Compose([Flip(), RandomChain()])]
every = pytest.mark.parametrize("augmentation", KINDS, ids=repr)


def raw(augmentation: Augmentation, images: object, **options: object) -> Tensor:
    """A call that the tests' own checker of shapes does not see."""
    call: Any = type(augmentation).__call__
    return call.__wrapped__(augmentation, images, **options)  # type: ignore[no-any-return]


@every
def test_one_image_is_a_batch_of_one(augmentation: Augmentation) -> None:
    images, drawn = photos(6, 3, 20, 24), keys(6)
    whole = augmentation(images, keys=drawn)
    for n in range(6):
        one = augmentation(images[n], keys=drawn[n])
        assert one.shape == (3, 20, 24)
        assert one.equal(whole[n])
    torch.manual_seed(3)
    first = augmentation(images[0])
    torch.manual_seed(3)
    assert augmentation(images[:1])[0].equal(first)


@every
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_strides_layouts_and_gradients_do_not_matter(augmentation: Augmentation, dtype: torch.dtype) -> None:
    images = photos(6, 3, 20, 24)
    if dtype != torch.uint8:
        images = (images.double() / 255).to(dtype)
    expected = augmentation(images, keys=keys(6))
    assert expected.dtype == (torch.float32 if isinstance(augmentation, AugMix) else dtype)
    wide = torch.zeros(6, 3, 40, 24, dtype=dtype)
    wide[:, :, ::2] = images
    given = [images.contiguous(memory_format=torch.channels_last), wide[:, :, ::2], images[:1].expand(6, -1, -1, -1)]
    if images.is_floating_point():
        given.append(images.clone().requires_grad_())
    for each in given[:2] + given[3:]:
        made = augmentation(each, keys=keys(6))
        assert made.equal(expected)
        assert made.is_contiguous()
        assert not made.requires_grad
    repeated = augmentation(given[2], keys=keys(1).expand(6))
    assert repeated.equal(expected[:1].expand(6, -1, -1, -1))


def test_what_people_write_themselves_comes_out_alike() -> None:
    @dataclass(frozen=True)
    class Mirror(Augmentation):
        def transform(self, images: Tensor, keys: Tensor) -> Tensor:
            return images[..., 1:-1].flip(-1)

    images = photos(4, 3, 8, 10).contiguous(memory_format=torch.channels_last)
    made = Mirror()(images)
    assert made.equal(images[..., 1:-1].flip(-1))
    assert made.is_contiguous()
    assert Compose([Mirror(), Flip(1.0)])(images[0]).equal(images[0, ..., 1:-1])
    assert result(Mirror(), torch.uint8) == (torch.uint8, (17, 17))
    for each in (Mirror(), Compose([])):
        assert not each((images / 255).requires_grad_()).requires_grad


def test_every_value_of_floating_point_is_rounded_as_torch_rounds() -> None:
    """The compiled pass against torch's, at all 256 values, between them, and at a million others."""
    drawn = torch.rand(1 << 20, generator=torch.Generator().manual_seed(0))
    values = torch.cat([drawn, torch.arange(256) / 255, (torch.arange(255) + 0.5) / 255, torch.tensor([0.0])])
    images = values.view(1, 1, -1, 1 << 4)
    invert = Program(torch.tensor([[[OPS["invert"].code]]], dtype=torch.int32), torch.zeros(1, 1, 1, 1))
    assert apply(images, invert).equal((255 - images.mul(255).round()).div(255))


@pytest.mark.parametrize("backend", ["compiled", "batched"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_operations_leave_alone_keeps_every_bit(backend: Backend, dtype: torch.dtype) -> None:
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    program = Cutout(16, fill=0).draw(streams(0, torch.arange(64)), height=32, width=32)
    made = apply(images, program, backend=backend)
    assert made.dtype == dtype
    out = made == 0
    assert made.equal(torch.where(out, torch.zeros_like(images), images))
    assert 0.15 < out.double().mean() < 0.25  # 14 x 14 of 32 x 32 pixels on average


@every
def test_a_layer_augments_in_training_and_lets_pass_in_evaluation(augmentation: Augmentation) -> None:
    images = photos(40, 3, 20, 24)
    layer = augmentation.module()
    model = nn.Sequential(layer, nn.Identity())
    torch.manual_seed(1)
    made = model(images)
    torch.manual_seed(1)
    assert augmentation(images).equal(made)
    assert not made.equal(images)
    assert layer(images, keys=keys(40)).equal(augmentation(images, keys=keys(40)))
    passed = model.eval()(images)
    assert passed.dtype == made.dtype, "the network sees the same scale in both modes"
    assert passed.equal(images.float() / 255 if made.is_floating_point() else images)
    floats = (images.float() / 255).requires_grad_()
    model(floats).sum().backward()
    assert floats.grad is not None
    assert floats.grad.eq(1).all()
    assert not model.state_dict()
    assert repr(augmentation) in repr(model)


def test_layers_are_themselves_though_their_augmentations_are_equal() -> None:
    """`nn.Module.train` skips children that are equal to one before."""
    model = nn.Sequential(Flip(1.0).module(), Flip(1.0).module())
    images = photos(2, 3, 8, 8)
    assert model.eval()(images).equal(images)
    assert len(list(model.children())) == 2
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [part.augmentation for part in again] == [Flip(1.0), Flip(1.0)]
        assert again.train()[0](images).equal(images.flip(-1))
        assert not model.training


def test_a_layer_hands_on_what_stands_beside_the_images() -> None:
    images, labels = photos(4, 3, 8, 8), torch.arange(4)
    pair = Flip(1.0).module()(images, labels)
    assert pair[0].equal(images.flip(-1))
    assert pair[1] is labels


@every
def test_inside_a_pipeline_of_torchvision(augmentation: Augmentation) -> None:
    images = photos(5, 3, 20, 24)
    pipeline = v2.Compose([v2.RandomHorizontalFlip(1.0), augmentation, v2.ToDtype(torch.float32, scale=True)])
    for given in (images, tv_tensors.Image(images)):
        torch.manual_seed(2)
        made = pipeline(given)
        torch.manual_seed(2)
        v2.RandomHorizontalFlip(1.0)(images)  # draws too
        own = augmentation(images.flip(-1))
        expected = own if own.is_floating_point() else own.float() / 255
        torch.testing.assert_close(made.as_subclass(Tensor), expected, rtol=0, atol=1e-6)
        assert type(made) is type(given), "what follows still knows that this is an image"
    picture = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    alone = v2.Compose([v2.ToImage(), augmentation])(picture)
    assert isinstance(alone, tv_tensors.Image)
    assert alone.shape == (3, 20, 24)
    pair = v2.Compose([v2.ToImage(), augmentation.module()])(picture, 7)
    assert pair[0].shape == (3, 20, 24)
    assert pair[1] == 7


IMAGES = photos(4, 3, 8, 8)
UNIT = IMAGES.float() / 255
BAD: list[tuple[object, str]] = [
    (Image.new("RGB", (8, 8)), "PIL.Image.Image, expected a torch.Tensor .*ToImage"),
    (np.zeros((4, 3, 8, 8), np.uint8), "numpy.ndarray, expected a torch.Tensor"),
    ([IMAGES[0]], "got list, expected a torch.Tensor"),
    (IMAGES[0, 0], r"shape \(8, 8\), expected \(N, C, H, W\), or \(C, H, W\)"),
    (IMAGES[None], r"shape \(1, 4, 3, 8, 8\), expected"),
    (IMAGES.int(), "dtype torch.int32, expected uint8"),
    (IMAGES.bool(), "dtype torch.bool, expected uint8"),
    (IMAGES.float(), r"values span \[.*\], expected finite values in \[0, 1\]; divide"),
    (UNIT * 2 - 1, "values span"),
    (UNIT.where(UNIT < 0.9, torch.nan), "values span .* expected finite"),
    (UNIT.where(UNIT < 0.9, torch.inf), "values span .* expected finite"),
]


@every
@pytest.mark.parametrize(("images", "message"), BAD, ids=[message[:20] for _, message in BAD])
def test_bad_images_are_one_clear_line(augmentation: Augmentation, images: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        raw(augmentation, images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [2, 4])
def test_operations_want_grey_or_three_colours(channels: int) -> None:
    images = torch.zeros(2, channels, 8, 8, dtype=torch.uint8)
    for augmentation in (AugMix(), RandAugment(), Cutout(4)):
        with pytest.raises(InputError, match=f"got {channels} channels, expected 1 .grey. or 3"):
            augmentation(images)
    assert Flip()(images).shape == images.shape  # what only moves pixels takes any number
    with pytest.raises(InputError, match=re.escape("images.permute(0, 3, 1, 2)")):
        AugMix()(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))


def test_keys_belong_to_images() -> None:
    with pytest.raises(InputError, match=r"shape \(1,\) for one image"):
        raw(Flip(), IMAGES[0], keys=keys(1))
    with pytest.raises(InputError, match=r"shape \(3,\) for 4 images"):
        raw(Flip(), IMAGES, keys=keys(3))


def test_a_composition_takes_a_list_and_only_augmentations() -> None:
    composed = Compose([Flip(), AugMix()])
    assert composed == Compose((Flip(), AugMix()))
    assert hash(composed) == hash(Compose((Flip(), AugMix())))
    with pytest.raises(InputError, match="Compose: got Linear, expected augmentations"):
        Compose.__post_init__(SimpleNamespace(parts=[nn.Linear(1, 1)]))  # type: ignore[arg-type]


@every
def test_images_stay_on_their_device(augmentation: Augmentation) -> None:
    """Tensors without memory stand for a GPU: everything between images and result is computed where they are."""
    images = torch.empty(5, 3, 20, 24, dtype=torch.uint8, device="meta")
    made = augmentation.transform(images, keys(5))
    assert made.device.type == "meta"
    assert made.shape == images.shape
    assert (made.dtype, None) == result(augmentation, torch.uint8)


def test_the_check_reads_but_does_not_copy() -> None:
    """So it costs one pass over the values: no tensor of the size of the images is made."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
        size = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            for each in made if isinstance(made, tuple) else (made,):
                if isinstance(each, Tensor):
                    self.size = max(self.size, each.numel())
            return made

    with Largest() as watched:  # type: ignore[no-untyped-call]
        check_images(UNIT)
    assert watched.size == 1
