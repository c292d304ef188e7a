"""`mix`, `Mix` and `Choice`: arguments, draws, laws, refusals."""

import pickle
from typing import Any, get_args

import pytest
import torch
from jsonargparse import ArgumentParser
from scipy import stats
from torch import Tensor

from elinvar.check import InputError
from elinvar.mixing import (
    METHODS,
    BCPlus,
    Choice,
    CutMix,
    Mix,
    Mixup,
    NoisyMixup,
    RandomSquare,
    blend,
    method,
    mix,
    zero_mean,
)
from elinvar.mixing.backend import Backend
from elinvar.mixing.base import FIRST, check_label
from elinvar.mixing.maps import Balanced, Map, Patch, Quarters
from elinvar.rng import uniform

from .conftest import keys, noise

on_both = pytest.mark.parametrize("backend", get_args(Backend))
images, targets = noise(24, 3, 8, 8), torch.arange(24) % 6


def unchecked(call: Any, *args: Any, **settings: Any) -> Any:
    """A call that the tests' own checker of shapes does not see."""
    return getattr(call, "__wrapped__", call)(*args, **settings)


def unchecked_mix(*args: Any, **settings: Any) -> Any:
    return unchecked(Mix.__call__, Mix("mixup", classes=6), *args, **settings)


def same(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> bool:
    return one[0].equal(two[0]) and one[1].equal(two[1])


def test_names_methods_and_mixes_are_the_same() -> None:
    drawn = keys(24)
    expected = mix("cutmix", images, targets, classes=6, keys=drawn)
    assert same(mix(CutMix(), images, targets, classes=6, keys=drawn), expected)
    assert same(Mix("cutmix", classes=6)(images, targets, keys=drawn), expected)
    assert same(Mix(CutMix(), classes=6)(images, targets, keys=drawn), expected)
    assert same(mix(Choice(("cutmix",)), images, targets, classes=6, keys=drawn), expected)
    assert not same(mix("cutmix", images, targets, classes=6, keys=drawn, alpha=0.2), expected)
    assert same(
        mix("cutmix", images, targets, classes=6, keys=drawn, alpha=0.2),
        mix(CutMix(alpha=0.2), images, targets, classes=6, keys=drawn),
    )


def test_without_keys_torch_fixes_them() -> None:
    torch.manual_seed(7)
    one, two = (mix("mixup", images, targets, classes=6) for _ in range(2))
    torch.manual_seed(7)
    assert same(mix("mixup", images, targets, classes=6), one)
    assert not same(one, two)


def test_lambda_differs_between_examples() -> None:
    soft = mix("mixup", images, torch.arange(24), classes=24)[1]
    assert len(set(soft.diagonal().tolist())) >= 23


def test_a_partner_may_hold_other_kinds_of_targets() -> None:
    rows = torch.nn.functional.one_hot(targets, 6).double()
    partner = images.flip(0), targets.flip(0)
    expected = mix("mixup", images, targets, classes=6, keys=keys(24), partner=partner)
    for first, second in ((rows, targets.flip(0)), (targets, rows.flip(0)), (rows, rows.flip(0))):
        made = mix("mixup", images, first, classes=6, keys=keys(24), partner=(images.flip(0), second))
        assert made[0].equal(expected[0])
        assert torch.allclose(made[1], expected[1], atol=1e-7)


@on_both
def test_exchanging_the_pair_exchanges_the_weights(backend: Backend) -> None:
    """M to 1 - M, w to 1 - w: with lambda replaced by 1 - lambda, and quarters that are symmetric."""
    first, second = noise(40, 3, 8, 8, dtype=torch.float64, seed=1), noise(40, 3, 8, 8, dtype=torch.float64, seed=2)
    for name in ("mixup", "bcplus"):
        u = uniform(keys(40), 2)
        one, two = (METHODS[name]().draw(v, keys(40), (3, 8, 8)) for v in (u, 1 - u))
        made = blend(first, second, one.map, backend=backend)
        assert torch.allclose(made, blend(second, first, two.map, backend=backend), atol=1e-6)
        assert one.label is not None
        assert two.label is not None
        assert torch.allclose(one.label, 1 - two.label, atol=1e-6)


def test_cross_entropy_on_soft_targets_pulls_towards_them() -> None:
    """The gradient is softmax - target."""
    soft = mix("vh_mixup", images, targets, classes=6)[1].double()
    logits = torch.randn(24, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.nn.functional.cross_entropy(logits, soft, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.allclose(logits.grad, logits.detach().softmax(1) - soft, atol=1e-6)


@on_both
def test_a_choice_mixes_each_example_as_its_method_alone_would(backend: Backend) -> None:
    first, drawn = noise(400, 3, 9, 10), keys(400)
    labels, partner = torch.arange(400), (noise(400, 3, 9, 10, seed=3), torch.arange(400).flip(0))
    names, weights = ("mixup", "cutmix", "random_pixels", "noisy_mixup"), (1, 2, 0, 1)
    made = Mix(Choice(names, weights), classes=400, backend=backend)(first, labels, keys=drawn, partner=partner)
    u = uniform(drawn, FIRST)[:, 2]
    which = torch.where(u < 0.25, 0, torch.where(u < 0.75, 1, 3))
    for place, name in enumerate(names):
        alone = Mix(name, classes=400, backend=backend)(first, labels, keys=drawn, partner=partner)
        assert made[0][which == place].equal(alone[0][which == place])
        assert made[1][which == place].equal(alone[1][which == place])
    assert stats.chisquare(torch.bincount(which, minlength=4)[[0, 1, 3]], [100, 200, 100]).pvalue > 1e-6


@on_both
def test_probability_leaves_examples_as_they_are(backend: Backend) -> None:
    first, labels, drawn = noise(1000, 1, 4, 4), torch.arange(1000), keys(1000)
    for chosen in ("mixup", Choice(("mixup", "cutmix"))):
        made, soft = Mix(chosen, classes=1000, probability=0.3, backend=backend)(first, labels, keys=drawn)
        left = soft.diagonal() == 1
        assert 620 < int(left.sum()) < 790  # 700, sd 14.5, and a few that have themselves or nothing mixed in
        assert made[left].sub(first[left]).abs().max() < 1e-6 or chosen != "mixup"
    never = Mix("random_rows", classes=1000, probability=0.0, backend=backend)(first, labels, keys=drawn)
    assert never[0].equal(first)
    assert never[1].equal(torch.eye(1000))


@on_both
def test_beside_zero_mean_images_all_have_zero_mean(backend: Backend) -> None:
    first, labels, drawn = noise(60, 3, 8, 8), torch.arange(60), keys(60)
    for chosen, probability in (("bcplus", 0.5), (Choice(("mixup", "vh_bcplus")), 1.0)):
        mixing = Mix(chosen, classes=60, probability=probability, backend=backend)
        made, soft = mixing(first, labels, keys=drawn)
        whole = made[(soft.diagonal() == 1)] if probability < 1 else made[soft.amax(1) < 1]
        assert len(whole) > 10
        if probability < 1:
            assert torch.allclose(whole, zero_mean(first)[soft.diagonal() == 1], atol=1e-6)
        assert float(made.mean()) == pytest.approx(0.0, abs=0.02)
    kept = Mix(BCPlus(center=False), classes=60, probability=0.5, backend=backend)(first, labels, keys=drawn)
    left = kept[1].diagonal() == 1
    assert kept[0][left].equal(first[left])


def test_a_choice_with_zero_mean_images_is_floating_point() -> None:
    whole = noise(50, 3, 8, 8, dtype=torch.uint8)
    labels = torch.arange(50)
    made = mix(Choice(("mixup", "bcplus")), whole, labels, classes=50, keys=keys(50))[0]
    expected = mix(Choice(("mixup", "bcplus")), whole.float() / 255, labels, classes=50, keys=keys(50))[0]
    assert made.dtype == torch.float32
    assert made.equal(expected)


def test_bytes_are_rounded_to_the_nearest_level() -> None:
    whole = noise(64, 3, 16, 16, dtype=torch.uint8)
    labels = torch.arange(64) % 4
    for name in ("mixup", "vh_mixup", "noisy_mixup"):
        made = mix(name, whole, labels, classes=4, keys=keys(64))[0]
        exact = mix(name, whole.double(), labels, classes=4, keys=keys(64))[0]
        assert made.dtype == torch.uint8
        assert float((made.double() - exact).abs().max()) <= 0.5 + 1e-4


def test_settings_travel() -> None:
    for chosen in ("cutmix", NoisyMixup(sigma=0.025), Choice(("mixup", BCPlus()), (1.0, 3.0))):
        for one in (Mix(chosen, classes=6, probability=0.5), Mix(chosen, pairing="disjoint")):
            again = pickle.loads(pickle.dumps(one))
            assert again == one
            assert hash(again) == hash(one)
            with pytest.raises(AttributeError):
                one.classes = 3  # type: ignore[misc]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Mix, "mix")
    made = parser.instantiate(
        parser.parse_args(["--mix.method=cutmix", "--mix.classes=6", "--mix.pairing=derangement"])
    )
    assert made.mix == Mix("cutmix", classes=6, pairing="derangement")


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(InputError, match="unknown mixing method 'mix_up': did you mean 'mixup'"):
        mix("mix_up", images, targets, classes=6)
    with pytest.raises(InputError, match=r"alpha: got 0\.2, but random_square draws nothing from Beta"):
        method("random_square", alpha=0.2)
    with pytest.raises(InputError, match=r"probability: got 1\.5"):
        Mix("mixup", probability=1.5)
    with pytest.raises(InputError, match="choice: got weights"):
        Choice(("mixup",), (1.0, 2.0))
    with pytest.raises(InputError, match="choice: got weights"):
        Choice(())
    for weight in (-1.0, float("nan")):
        with pytest.raises(InputError, match="choice: got weights"):
            Choice(("mixup", "cutmix"), (1.0, weight))
    for alpha in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="alpha: got"):
            Mixup(alpha)
    with pytest.raises(InputError, match="sigma: got -1"):
        NoisyMixup(sigma=-1.0)
    with pytest.raises(InputError, match="size: got 0"):
        RandomSquare(0)
    with pytest.raises(InputError, match="unknown label 'area': "):
        check_label("area")


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (images.numpy(), "got ndarray, expected a torch.Tensor"),
        (images[0], r"got shape \(3, 8, 8\), expected \(N, C, H, W\)"),
        (images[..., :0], "expected at least one pixel"),
        (images.int(), "got dtype torch.int32, expected uint8 or floating point"),
        (images.bool(), "got dtype torch.bool"),
        (images.clone().index_fill_(3, torch.tensor([2]), float("nan")), "some values are NaN or infinite"),
        (images.clone().index_fill_(0, torch.tensor([23]), float("inf")), "some values are NaN or infinite"),
    ],
)
def test_bad_images_are_refused(bad: Any, text: str) -> None:
    with pytest.raises(InputError, match=f"^images: .*{text}"):
        unchecked_mix(bad, targets)
    if isinstance(bad, Tensor) and bad.ndim == 4:
        with pytest.raises(InputError, match=f"^partner images: .*{text}"):
            unchecked_mix(images, targets, partner=(bad, targets))


SOFT = torch.full((24, 6), 1 / 6)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (list(range(24)), "got list, expected a torch.Tensor of 24 targets"),
        (targets[:5], r"got shape \(5,\) for 24 images"),
        (targets.view(24, 1, 1), r"got shape \(24, 1, 1\)"),
        (targets.int(), r"got dtype torch.int32, expected int64 class numbers; use targets.long\(\)"),
        (targets.float(), "got dtype torch.float32, expected int64 class numbers"),
        (targets + 1, r"class numbers span \[1, 6\], expected 0 to 5"),
        (targets - 1, r"class numbers span \[-1, 4\], expected 0 to 5"),
        (torch.nn.functional.one_hot(targets, 6), "got dtype torch.int64, expected floating point soft targets"),
        (SOFT[:, :5] * 1.2, "got soft targets of 5 classes, expected 6"),
        (SOFT * 2, "rows of soft targets must be at least 0 and sum to 1"),
        (SOFT * float("nan"), "rows of soft targets must be at least 0 and sum to 1"),
        (SOFT + torch.tensor([1.0, -1, 0, 0, 0, 0]), "rows of soft targets must be at least 0"),
    ],
)
def test_bad_targets_are_refused(bad: Any, text: str) -> None:
    with pytest.raises(InputError, match=f"^targets: {text}"):
        unchecked_mix(images, bad)
    with pytest.raises(InputError, match=f"^partner targets: {text}"):
        unchecked_mix(images, targets, partner=(images, bad))


def test_class_numbers_need_the_number_of_classes() -> None:
    with pytest.raises(InputError, match="class numbers need classes="):
        mix("mixup", images, targets)
    with pytest.raises(InputError, match="classes: got 0, expected at least 1"):
        mix("mixup", images, targets, classes=0)


def test_bad_keys_and_partners_are_refused() -> None:
    for bad in (keys(23), keys(24).int(), keys(24).view(4, 6)):
        with pytest.raises(InputError, match=r"keys: got .* for 24 images, expected one int64 stream for each"):
            unchecked_mix(images, targets, keys=bad)
    for second in (images[:, :, :4], images.double(), images[:, :1]):
        with pytest.raises(InputError, match=r"partner: got .* expected torch\.float32 of shape"):
            unchecked_mix(images, targets, partner=(second, targets))
    with pytest.raises(InputError, match="partner: disjoint pairs are made inside one batch"):
        mix("mixup", images, targets, classes=6, pairing="disjoint", partner=(images, targets))
    with pytest.raises(InputError, match=r"partner: got targets of shape \(24, 5\), expected \(24, 6\)"):
        mix("mixup", images, SOFT, partner=(images, SOFT[:, :5] * 1.2))


def test_what_no_kernel_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"compiled has no code for torch\.float16 images on cpu; use 'batched'"):
        Mix("mixup", classes=6, backend="compiled")(images.half(), targets)

    class Own(Map):
        def dense(self, size: tuple[int, int, int]) -> Tensor:
            return torch.full((24, 1, 1, 1), 0.25)

    assert torch.allclose(blend(images, images.flip(0), Own(), backend="batched"), images.lerp(images.flip(0), 0.75))
    with pytest.raises(InputError, match="map: got Own, which has no compiled kernel"):
        blend(images, images, Own(), backend="compiled")


def test_maps_that_do_not_fit_are_refused() -> None:
    """Compiled code goes where it is told."""
    rows, weights = torch.zeros(24, dtype=torch.int64), torch.ones(24, 4)
    corner = torch.zeros(24, 2, dtype=torch.int64)
    for bad, text in (
        (Quarters(rows, rows + 9, weights), "some columns are cut outside of 0 to 8"),
        (Quarters(rows - 1, rows, weights), "some rows are cut outside of 0 to 8"),
        (Balanced(rows, rows + 9, weights[:, 0]), "some columns are cut outside of 0 to 8"),
        (Patch(corner, corner + 9), "some rectangles, or where they come from, lie outside of 8 x 8 pixels"),
        (Patch(corner + 2, corner + 1), "some rectangles"),
        (Patch(corner, corner + 8, corner + 1), "some rectangles"),
        (Quarters(rows[:5], rows[:5], weights[:5]), "expected one entry for each"),
    ):
        with pytest.raises(InputError, match=f"^map: .*{text}"):
            blend(images, images, bad)
    fit = Quarters(rows, rows, weights)
    with pytest.raises(InputError, match="expected images like the first"):
        unchecked(blend, images, images.double(), fit)
    with pytest.raises(InputError, match="expected images like the first"):
        unchecked(blend, images, images[..., :4], fit)
    with pytest.raises(InputError, match="name rows of them in partner"):
        blend(images, images[:5], fit)
    with pytest.raises(InputError, match="partner: expected 24 rows of the second images, 0 to 4"):
        blend(images, images[:5], fit, partner=torch.arange(24))
    with pytest.raises(InputError, match="first images: some values are NaN"):
        blend(images * float("nan"), images, fit)
