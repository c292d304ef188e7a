"""Attacks in use: exact bounds, batches cut anywhere, early stops, formats, and what is refused."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elinvar import attacks
from elinvar.attacks import Attack
from elinvar.attacks.inputs import check_images, check_keys, check_targets
from elinvar.attacks.losses import margin
from elinvar.check import InputError

from .nets import EPS, Linear, convolutional, images, keys, smooth, targets

ALL = {
    "fgsm": attacks.fgsm_attack(eps=EPS),
    "fgsm-l2": attacks.fgsm_attack(eps=0.3, norm="l2"),
    "fgsm-random": attacks.fgsm_attack(eps=0.03, random_start=True),
    "pgd": attacks.pgd_attack(eps=EPS, steps=5),
    "pgd-long-steps": attacks.pgd_attack(eps=0.03, step=1.0, steps=5),
    "pgd-l2": attacks.pgd_attack(eps=0.3, norm="l2", steps=5),
    "pgd-restarts": attacks.pgd_attack(eps=0.1, steps=3, restarts=3, early_stop=True),
    "pgd-targeted": attacks.pgd_attack(eps=0.7, steps=3, targeted=True),
    "pgd-stop-l2": attacks.pgd_attack(eps=1.0, norm="l2", steps=5, early_stop=True, restarts=2),
    "spsa": attacks.spsa_attack(eps=EPS, steps=3, samples=8),
    "spsa-l2": attacks.spsa_attack(eps=0.3, norm="l2", steps=3, samples=8, early_stop=False),
}


@pytest.mark.parametrize("name", sorted(ALL))
def test_results_are_inside_exactly(name: str) -> None:
    """By float64, and by the float32 arithmetic that people check with."""
    attack, x = ALL[name], images(32)
    x[5:9] = torch.randint(0, 256, x[5:9].shape, generator=torch.Generator().manual_seed(0)) / 255
    found = attack(convolutional(), x, targets(32), keys=keys(32))
    eps = attack.threat.eps
    assert found.dtype == torch.float32
    assert found.shape == x.shape
    assert attack.threat.size(found.double() - x.double()).max().item() <= eps
    if isinstance(attack.threat, attacks.Linf):
        assert (found - x).abs().max().item() <= eps
    assert found.min() >= 0
    assert found.max() <= 1
    assert not torch.equal(found, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", sorted(attacks.THREATS))
def test_an_eps_of_zero_returns_the_images(norm: str, dtype: torch.dtype) -> None:
    model, x, y = smooth(dtype=dtype), images(5, dtype=dtype), targets(5)
    for found in (
        attacks.fgsm(model, x, y, eps=0, norm=norm),
        attacks.pgd(model, x, y, eps=0, step=0.1, norm=norm, restarts=2),
        attacks.spsa(model, x, y, eps=0, norm=norm, steps=2, samples=4, early_stop=False),
    ):
        assert torch.equal(found, x)


def test_no_steps_give_the_start() -> None:
    model, x, y = smooth(), images(5, dtype=torch.float64), targets(5)
    assert torch.equal(attacks.pgd(model, x, y, steps=0, random_start=False), x)
    assert not torch.equal(attacks.pgd(model, x, y, steps=0), x)


@pytest.mark.parametrize("name", sorted(ALL))
def test_results_do_not_depend_on_the_batch(name: str) -> None:
    model, x, y = smooth(), images(12, dtype=torch.float64), targets(12)
    whole = ALL[name](model, x, y, keys=keys(12))
    order = torch.tensor([7, 3, 11, 0, 5, 1, 2, 10, 9, 8, 4, 6])
    shuffled = ALL[name](model, x[order], y[order], keys=keys(12)[order])
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-9)
    for size in (1, 5):
        cut = zip(*(torch.split(tensor, size) for tensor in (x, y, keys(12))), strict=True)
        parts = [ALL[name](model, some, labels, keys=streams) for some, labels, streams in cut]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-9)


def test_keys_are_what_draws_depend_on() -> None:
    model, x, y = smooth(), images(5, dtype=torch.float64), targets(5)
    settings: dict[str, Any] = {"eps": 0.1, "steps": 1, "step": 0.01}
    assert torch.equal(*(attacks.pgd(model, x, y, keys=keys(5), **settings) for _ in range(2)))
    assert not torch.equal(*(attacks.pgd(model, x, y, keys=keys(5, key), **settings) for key in range(2)))
    assert not torch.equal(*(attacks.pgd(model, x, y, **settings) for _ in range(2)))
    again = []
    for _ in range(2):
        torch.manual_seed(3)
        again.append(attacks.pgd(model, x, y, **settings))
    assert torch.equal(*again)
    same = attacks.pgd(model, x[3:4].expand(2, -1, -1, -1), y[3:4].expand(2), keys=keys(2), **settings)
    assert not torch.equal(same[0], same[1])


def fooled(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    wrong: Tensor = model(x).argmax(1) != y
    return wrong


@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize("norm", sorted(attacks.THREATS))
def test_early_stops_leave_alone_who_is_fooled(norm: str, random_start: bool) -> None:
    """Wrong images come back as they are, others end where they were first fooled, the rest as without early stop."""
    model, x = smooth(), images(40, dtype=torch.float64)
    y = model(x).argmax(1)
    y[::2] = (y[::2] + 1) % 4  # half of the batch is wrong already
    settings: dict[str, Any] = {
        "eps": 0.03 if norm == "linf" else 0.4, "norm": norm, "keys": keys(40), "random_start": random_start
    }  # fmt: skip
    short = attacks.pgd(model, x, y, early_stop=True, steps=9, **settings)
    assert torch.equal(short[::2], x[::2])
    trajectory = torch.stack([attacks.pgd(model, x, y, steps=steps, **settings) for steps in range(10)])
    wrong = torch.stack([fooled(model, points, y) for points in trajectory])
    stopped = 0
    for row in range(1, 40, 2):
        first = int(wrong[:, row].int().argmax()) if wrong[:, row].any() else 9
        torch.testing.assert_close(short[row], trajectory[first, row], rtol=0, atol=1e-9)
        stopped += first < 9
    assert 0 < stopped < 20
    assert fooled(model, short, y).sum() >= wrong[-1].sum()


def test_early_stops_change_nothing_for_those_who_stay() -> None:
    """Their draws and what Adam remembers of them are their own, whoever leaves."""
    model, x = smooth(), images(24, dtype=torch.float64)
    y = model(x).argmax(1)
    settings: dict[str, Any] = {"eps": 0.05, "samples": 8, "keys": keys(24)}
    short = attacks.spsa(model, x, y, steps=8, **settings)
    trajectory = [attacks.spsa(model, x, y, steps=steps, early_stop=False, **settings) for steps in range(9)]
    wrong = torch.stack([fooled(model, points, y) for points in trajectory])
    firsts = [int(wrong[:, row].int().argmax()) if wrong[:, row].any() else 8 for row in range(24)]
    assert len(set(firsts)) > 2
    for row, first in enumerate(firsts):
        torch.testing.assert_close(short[row], trajectory[first][row], rtol=0, atol=1e-9)


def test_early_stops_cost_less() -> None:
    """Counted in images that the model sees: a model without defence is done after the first steps."""
    model, x = smooth(), images(64, dtype=torch.float64)
    y = model(x).argmax(1)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    attacks.pgd(model, x, y, eps=0.3, keys=keys(64), early_stop=True)
    assert sum(seen) < 64 * 10 / 2
    seen.clear()
    attacks.pgd(model, x, (y + 1) % 4, keys=keys(64), early_stop=True, restarts=5)
    assert seen == [64]  # all are wrong already


def test_targeted_attacks_stop_at_the_target() -> None:
    model, x = smooth(), images(20, dtype=torch.float64)
    goal = (model(x).argmax(1) + 1) % 4
    found = attacks.pgd(model, x, goal, eps=0.2, targeted=True, early_stop=True, keys=keys(20))
    reached = model(found).argmax(1) == goal
    assert reached.float().mean() > 0.5
    at_home = model(x).argmax(1)
    assert torch.equal(attacks.pgd(model, x, at_home, targeted=True, early_stop=True), x)


def test_no_image_and_one_image() -> None:
    x, y = images(5), targets(5)
    for attack in ALL.values():
        assert attack(convolutional(), x[:0], y[:0]).shape == (0, 3, 6, 6)
        assert attack(convolutional(), x[3:4], y[3:4]).shape == (1, 3, 6, 6)


@pytest.mark.parametrize("name", ["pgd", "pgd-l2", "pgd-restarts", "spsa"])
def test_memory_formats_and_views_of_memory(name: str) -> None:
    model, x, y = convolutional().double(), images(12, dtype=torch.float64), targets(12)
    plain = ALL[name](model, x, y, keys=keys(12))
    last = x.contiguous(memory_format=torch.channels_last)
    found = ALL[name](model.to(memory_format=torch.channels_last), last, y, keys=keys(12))  # type: ignore[call-overload]
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-9)
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(ALL[name](model, turned, y, keys=keys(12)), plain, rtol=0, atol=1e-9)
    wide = x[3:4].expand(12, -1, -1, -1)
    same = ALL[name](model, wide, y, keys=keys(12))
    torch.testing.assert_close(same, ALL[name](model, wide.contiguous(), y, keys=keys(12)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_images_come_back_in_float32(dtype: torch.dtype) -> None:
    x = images(6).to(dtype)
    found = attacks.pgd(convolutional(), x, targets(6))
    assert found.dtype == torch.float32
    assert (found.double() - x.double()).abs().max() <= EPS


def test_works_under_autocast() -> None:
    model, x, y = convolutional(), images(16), targets(16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attacks.pgd(model, x, y, eps=0.1)
    assert found.dtype == torch.float32
    model.eval()
    assert F.cross_entropy(model(found), y) > F.cross_entropy(model(x), y)


def test_images_are_not_written_to_and_graphs_are_not_made() -> None:
    x, model = images(6).requires_grad_(), convolutional()
    before = x.detach().clone()
    found = attacks.pgd(model, x, targets(6), norm="l2", eps=0.3)
    assert torch.equal(x, before)
    assert x.grad is None
    assert not found.requires_grad
    with torch.inference_mode():
        made = images(6)
        inside = attacks.pgd(model, made, targets(6))
    assert not inside.is_inference()


def test_other_bounds() -> None:
    """Bounds that float32 does not know are those of its nearest number, which images hold."""
    w = torch.ones(3, 2, 2)
    x = torch.linspace(-1, 0.1, 12).view(1, 3, 2, 2)
    found = attacks.fgsm(Linear(w), x, torch.tensor([0]), eps=0.5, bounds=(-1.0, 0.1))
    assert found.max() == torch.tensor(0.1)
    torch.testing.assert_close(found, (x + 0.5).clamp(max=0.1))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"steps": -1}, "got -1 steps"),
    ({"restarts": 0}, "0 restarts"),
    ({"restarts": 2, "random_start": False}, "restarts from the same point"),
    ({"bounds": (1.0, 0.0)}, "bounds: got"),
    ({"loss": "cross_entrop"}, "unknown loss of an attack 'cross_entrop': did you mean 'cross_entropy'"),
    ({"step": -0.1}, "step: got -0.1"),
    ({"eps": -0.1}, "eps: got -0.1"),
    ({"norm": "l1"}, "unknown norm of a threat 'l1'"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=str)
def test_refuses_settings_without_meaning(settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attacks.pgd(smooth(), images(2, dtype=torch.float64), targets(2), **settings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), r"uint8, expected floating point.*give images / 255, and eps"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.int64), "dtype torch.int64"),
        (torch.zeros(3, 4, 4), r"expected \(N, C, H, W\); for one image use"),
        (torch.zeros(2, 3, 0, 4), r"expected \(N, C, H, W\)"),
        ([1.0], "got list"),
        (255 * torch.ones(2, 3, 4, 4), r"values span \[255, 255\]"),
        (-torch.ones(2, 3, 4, 4), r"values span \[-1, -1\].*first layer"),
        (torch.full((2, 3, 4, 4), torch.nan), "values span"),
    ],
)
def test_refuses_what_are_no_images(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_images(given, (0.0, 1.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(3).long(), r"got shape \(3,\), expected a torch.Tensor of shape \(2,\)"),
        (torch.zeros(2), "got dtype torch.float32"),
        (torch.zeros(2, 4).long(), "got dtype torch.int64"),
        ([0, 1], "got list"),
    ],
)
def test_refuses_what_are_no_targets(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_targets(given, 2)


def test_uint8_is_answered_clearly() -> None:
    with pytest.raises(InputError, match="uint8"):
        attacks.pgd(smooth(), torch.zeros(2, 3, 6, 6, dtype=torch.uint8), targets(2))


def test_refuses_keys_of_another_batch() -> None:
    check_keys(keys(2), 2)
    check_keys(None, 2)
    for wrong in (keys(3), keys(2).int()):
        with pytest.raises(InputError, match="expected one int64 stream for each"):
            check_keys(wrong, 2)


def test_refuses_logits_and_losses_of_other_shapes() -> None:
    x, y = images(3, dtype=torch.float64), targets(3)
    with pytest.raises(InputError, match=r"returned a tensor of shape \(3, 108\)|returned a tensor of shape \(3, 3"):
        attacks.pgd(nn.Identity(), x, y)
    with pytest.raises(InputError, match="expected one number for each"):
        attacks.pgd(smooth(), x, y, loss=lambda logits, given: F.cross_entropy(logits, given))
    with pytest.raises(InputError, match="class numbers 0 to 7, expected 0 to 3"):
        attacks.pgd(smooth(), x, torch.tensor([0, 7, 1]), loss="margin")
    with pytest.raises(InputError, match="at least two classes"):
        margin(torch.zeros(2, 1), torch.zeros(2).long())


def test_refuses_early_stops_where_they_change_the_statistics() -> None:
    with pytest.raises(InputError, match="early_stop"):
        attacks.pgd(convolutional(), images(4), targets(4), early_stop=True, mode="batch")


@pytest.mark.parametrize("attack", ALL.values(), ids=ALL)
def test_attacks_are_values(attack: Attack) -> None:
    assert eval(repr(attack), vars(attacks)) == attack
    assert hash(attack) == hash(eval(repr(attack), vars(attacks)))
