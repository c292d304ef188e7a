"""The evaluation: the white-box table, black boxes, distributions; nothing depends on the cut of batches."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elinvar import attacks
from elinvar.attacks import Distribution, Trial
from elinvar.attacks.subject import Subject
from elinvar.check import InputError
from elinvar.precision import Compute
from elinvar.rng import Seeds, Source, streams
from elinvar.views import Batch

from .nets import convolutional, images, smooth, targets

N = 30
X, Y = images(N, dtype=torch.float64), targets(N)
SOME: dict[str, Any] = {
    "FGSM": attacks.fgsm_attack(eps=0.05),
    "PGD-10": attacks.pgd_attack(eps=0.05),
    "SPSA": Trial(attacks.spsa_attack(eps=0.05, steps=2, samples=8), 11),
}


def batches(size: int, x: Tensor = X, y: Tensor = Y) -> Iterator[Batch]:
    for start in range(0, len(x), size):
        stop = min(len(x), start + size)
        yield Batch(x[start:stop], y[start:stop], torch.arange(start, stop) + 100)


def spread(found: attacks.Robustness, name: str) -> Distribution:
    logits = found.results[name].logits
    assert logits is not None
    return logits


def test_the_table_is_that_of_the_attacks_by_hand() -> None:
    model = smooth()
    found = attacks.robustness(model, batches(N), attacks=SOME, seed=4)
    keys = streams(Seeds(4).key(Source.ATTACK), torch.arange(N) + 100)
    assert list(found.accuracy) == ["natural", "FGSM", "PGD-10", "SPSA"]
    assert found.accuracy["natural"] == (model(X).argmax(1) == Y).double().mean().item()
    for name in ("FGSM", "PGD-10"):
        by_hand = SOME[name](model, X, Y, keys=keys)
        assert torch.equal(found.results[name].correct, model(by_hand).argmax(1) == Y)
    assert found.results["SPSA"].n == 11
    assert spread(found, "SPSA").values == 11 * 4
    standing = torch.stack([result.correct for result in found.results.values() if result.n == N]).all(0)
    standing[:11] &= found.results["SPSA"].correct
    assert found.worst == standing.double().mean().item()
    assert found.flat == 0


@pytest.mark.parametrize("size", [1, 7])
def test_batches_may_be_cut_anywhere(size: int) -> None:
    model, sources = smooth(), {"other": smooth(seed=1)}
    whole = attacks.robustness(model, batches(N), attacks=SOME, sources=sources)
    cut = attacks.robustness(model, batches(size), attacks=SOME, sources=sources)
    assert cut.accuracy == whole.accuracy
    for name, result in {**whole.results, **whole.black_box}.items():
        assert torch.equal({**cut.results, **cut.black_box}[name].correct, result.correct)
    assert cut.warnings == whole.warnings


def test_steps_are_told_over_all_batches() -> None:
    seen: list[int] = []
    attack = attacks.pgd_attack(eps=0.05, steps=3)
    told = Subject(smooth()).outcome(attack, batches(12), 0, seen.append)
    assert seen == list(range(3 * 3))
    silent = Subject(smooth()).outcome(attack, batches(12), 0)
    assert torch.equal(told.logits, silent.logits)


def test_uint8_images_are_attacked_on_unit_scale() -> None:
    levels = (X * 255).round().to(torch.uint8)
    model = smooth(dtype=torch.float32)
    found = attacks.robustness(model, batches(N, levels), attacks=SOME)
    same = attacks.robustness(model, batches(N, levels.float() / 255), attacks=SOME)
    assert found.accuracy == same.accuracy


def test_models_are_judged_in_eval_mode_and_left_as_they_were() -> None:
    model, source = convolutional(), convolutional(seed=1)
    x, y = images(N), targets(N)
    before = [tensor.clone() for net in (model, source) for tensor in net.state_dict().values()]
    found = attacks.robustness(model, batches(8, x, y), attacks=SOME, sources={"other": source})
    after = [tensor for net in (model, source) for tensor in net.state_dict().values()]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert all(module.training for net in (model, source) for module in net.modules())
    model.eval()
    assert found.accuracy["natural"] == (model(x).argmax(1) == y).double().mean().item()


def test_black_boxes_are_the_sources_images_on_the_model() -> None:
    model, other = smooth(), smooth(seed=1)
    attack = attacks.pgd_attack(eps=0.1)
    found = attacks.robustness(model, batches(7), attacks={}, sources={"other": other, "self": model}, black_box=attack)
    keys = streams(Seeds(0).key(Source.ATTACK), torch.arange(N) + 100)
    for name, source in (("other", other), ("self", model)):
        shown = model(attack(source, X, Y, keys=keys)).argmax(1) == Y
        assert torch.equal(found.black_box[name].correct, shown)
        transferred = attacks.transfer(source, model, X, Y, attack=attack, keys=keys)
        assert torch.equal(transferred.fooled, ~shown)
    matrix = attacks.black_box({"other": other, "self": model}, {"self": model}, batches(7), attack=attack)
    assert matrix.accuracy == {"self": {name: result.accuracy for name, result in found.black_box.items()}}
    assert matrix.accuracy["self"]["self"] < matrix.accuracy["self"]["other"]


class Loud(nn.Module):
    """Logits so large that the cross-entropy is flat in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = smooth(dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        return 1e6 * self.inner(x)  # type: ignore[no-any-return]


def test_masked_gradients_are_reported() -> None:
    model, x = Loud(), images(60)[3:]
    y = model(x).argmax(1)
    chosen: dict[str, Any] = {
        "PGD-20": attacks.pgd_attack(eps=0.2, steps=20, random_start=False),
        "SPSA": attacks.spsa_attack(eps=0.2, step=0.05, steps=10, samples=32),
    }
    found = attacks.robustness(model, batches(20, x, y), attacks=chosen, sources={"quiet": model.inner},
                               black_box=attacks.pgd_attack(eps=0.2))  # fmt: skip
    assert found.accuracy["PGD-20"] == 1.0
    assert found.flat > 0.9
    signs = ("exactly zero", "SPSA, which uses no gradients", "made for quiet")
    assert len(found.warnings) == 3
    for text, sign in zip(found.warnings, signs, strict=True):
        assert sign in text
    honest = attacks.robustness(model.inner, batches(20, x, y), attacks=chosen)
    assert honest.warnings == ()
    assert honest.accuracy["PGD-20"] < 0.5


def test_models_run_as_asked() -> None:
    """In bfloat16 logits differ in the third digit; the attack sees what is judged."""
    compute = Compute(torch.device("cpu"), torch.bfloat16, torch.channels_last)
    model = compute.place(convolutional())
    found = attacks.robustness(model, batches(8, images(N), targets(N)), attacks=SOME, compute=compute)
    plain = attacks.robustness(model, batches(8, images(N), targets(N)), attacks=SOME)
    half, single = spread(found, "natural").mean, spread(plain, "natural").mean
    assert half != single
    assert half == pytest.approx(single, abs=0.01)


def test_distributions_of_logits() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    found = Distribution.of(logits, bins=7)
    assert found.values == 200
    assert sum(found.counts) == 200
    assert found.variance == pytest.approx(logits.double().var(correction=0).item())
    assert found.mean == pytest.approx(logits.double().mean().item())
    assert (found.low, found.high) == (logits.min().item(), logits.max().item())
    assert found.range == found.high - found.low
    assert len(found.edges) == 8
    for place, count in enumerate(found.counts):
        inside = (logits.double() >= found.edges[place]) & (logits.double() < found.edges[place + 1])
        assert count == int(inside.sum()) + (place == 6)
    best = logits.double().sort(1).values
    assert found.margin == pytest.approx((best[:, -1] - best[:, -2]).mean().item())
    assert Distribution.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_distributions_leave_out_what_is_not_finite() -> None:
    found = Distribution.of(torch.tensor([[0.0, torch.inf], [torch.nan, 2.0]]))
    assert (found.infinite, found.low, found.high) == (2, 0.0, 2.0)
    constant = Distribution.of(torch.ones(3, 2))
    assert (constant.variance, constant.range, sum(constant.counts)) == (0.0, 0.0, 6)


def test_a_model_without_a_finite_logit_is_wrong_everywhere() -> None:
    class Diverged(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :4] * torch.nan

    found = attacks.robustness(Diverged(), batches(7), attacks=SOME)
    assert set(found.accuracy.values()) == {0.0}
    assert [result.logits for result in found.results.values()] == [None] * 4


def test_the_standard_table() -> None:
    table = attacks.standard(eps=0.03, step=0.0078)
    assert list(table) == ["FGSM", "PGD-5", "PGD-10", "PGD-20", "PGD-1000", "SPSA"]
    assert [trial.attack.steps for trial in table.values()] == [1, 5, 10, 20, 1000, 100]
    assert [trial.images for trial in table.values()] == [None] * 4 + [1000] * 2
    assert {trial.attack.threat.eps for trial in table.values()} == {0.03}
    assert list(attacks.standard(thorough=0)) == ["FGSM", "PGD-5", "PGD-10", "PGD-20"]


def test_refuses_what_says_nothing() -> None:
    model = smooth()
    with pytest.raises(InputError, match="no batch came"):
        attacks.robustness(model, [])
    with pytest.raises(InputError, match="no batch came"):
        attacks.black_box({"a": model}, {"b": model}, [])
    with pytest.raises(InputError, match="'natural' is the name"):
        attacks.robustness(model, batches(8), attacks={"natural": attacks.fgsm_attack()})
    with pytest.raises(InputError, match="targeted"):
        attacks.robustness(model, batches(8), attacks={"a": attacks.pgd_attack(targeted=True)})
    early = attacks.pgd_attack(early_stop=True)
    for refused in (
        lambda: attacks.robustness(model, batches(8), black_box=early),
        lambda: attacks.black_box({"a": model}, {"b": model}, batches(8), attack=early),
        lambda: attacks.transfer(model, model, X, Y, attack=early),
    ):
        with pytest.raises(InputError, match=r"early.stop"):
            refused()
    with pytest.raises(InputError, match="images: got 0"):
        Trial(early, 0)
    with pytest.raises(InputError, match="no finite logit"):
        Distribution.of(torch.full((2, 2), torch.nan))
    with pytest.raises(InputError, match="bins: got 0"):
        Distribution.of(torch.zeros(2, 2), bins=0)
    with pytest.raises(InputError, match="two classes"):
        Distribution.of(torch.zeros(2, 1))
