"""Judging leaves no trace, sees the same pixels whatever the batch, and adds up."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from elinvar import data, metrics, models, norm, shift
from elinvar.check import InputError
from elinvar.infer import Evaluation, Predictor, evaluating, judge
from elinvar.infer.judge import corrupt
from elinvar.precision import Compute, Precision
from elinvar.recipe import Infer

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)
DIGITS = data.subset(data.load("digits"), train=100, test=40)


def model(policy: norm.NormPolicy | None = None) -> nn.Module:
    made = models.build("wrn-10-1", classes=10, mean=DIGITS.mean, std=DIGITS.std, seed=0)
    return norm.convert(made, policy or norm.batch_norm())


def test_predicting_leaves_modes_and_memory_alone() -> None:
    net = model().train()
    net.get_submodule("network.fc").eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    logits, targets = Predictor(net, Infer(), CPU).batches(DIGITS.test.batches(torch.arange(40), 16))
    assert logits.shape == (40, 10)
    assert not logits.requires_grad
    assert torch.equal(targets, DIGITS.test.targets)
    assert net.training
    assert not net.get_submodule("network.fc").training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_modes_come_back_after_an_error() -> None:
    net = model().train()
    with pytest.raises(RuntimeError, match="stop"), evaluating(net):
        assert not net.training
        raise RuntimeError("stop")
    assert all(module.training for module in net.modules())


def test_the_branch_of_inference_is_the_one_that_normalizes() -> None:
    net = model(norm.split())
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, norm.Norm):
                layer.get_submodule("branches.aux").get_buffer("running_mean").add_(0.5)
    images = next(iter(DIGITS.test.batches(torch.arange(8), 8))).images
    main, aux = (Predictor(net, Infer(branch=branch), CPU)(images) for branch in ("main", "aux"))
    assert not torch.allclose(main, aux)
    torch.testing.assert_close(Predictor(norm.restore(net, branch="aux"), Infer(), CPU)(images), aux)


def test_batch_size_changes_no_corrupted_pixel() -> None:
    whole = next(iter(DIGITS.test.batches(torch.arange(40), 40)))
    for name in ("gaussian_noise", "snow", "elastic_transform"):
        together = corrupt(whole, name, 3).images
        apart = [corrupt(part, name, 3).images for part in DIGITS.test.batches(torch.arange(40), 7)]
        assert torch.equal(together, torch.cat(apart))


def test_numbers_add_up() -> None:
    verdict = judge(Predictor(model(), Infer(), CPU), DIGITS.test, batch_size=40)
    found = verdict.shift
    assert found is not None
    assert verdict.clean.n == 40
    assert verdict.clean.error == pytest.approx(100 * metrics.error_rate(verdict.logits, verdict.targets))
    assert list(found.errors) == list(shift.CORRUPTIONS)
    assert found.mean["error"] == pytest.approx(sum(sum(e) / 5 for e in found.errors.values()) / len(found.errors))
    for name, errors in found.errors.items():
        assert found.pooled[name]["error"] == pytest.approx(sum(errors) / 5)
    assert sum(found.reliability.count) == 40 * 5 * len(found.errors)
    assert "generated" in found.generator


def test_corruptions_are_those_of_the_metric() -> None:
    assert tuple(shift.CORRUPTIONS) == tuple(metrics.SUBSETS["benchmark"])


def test_an_evaluation_is_what_was_written(tmp_path: Path) -> None:
    verdict = judge(Predictor(model(), Infer(), CPU), DIGITS.test, suites=["clean"])
    assert verdict.shift is None
    found = Evaluation(
        recipe="r", data="digits", seed=0, suites=["clean"], clean=verdict.clean, shift=None, about={"a": 1}
    )
    found.save(tmp_path / "evaluation.json")
    assert Evaluation.read(tmp_path / "evaluation.json") == found
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(InputError, match="not an evaluation"):
        Evaluation.read(tmp_path / "evaluation.json")


def test_what_cannot_be_judged_is_refused() -> None:
    predictor = Predictor(model(), Infer(), CPU)
    with pytest.raises(InputError, match="did you mean 'corruptions'"):
        judge(predictor, DIGITS.test, suites=["corruption"])
    small = data.ArraySplit(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match="--suites clean"):
        judge(predictor, small)
    assert judge(predictor, small, suites=["clean"]).clean.n == 2
    with pytest.raises(InputError, match="empty"):
        judge(predictor, DIGITS.test.take(torch.arange(0)))


def test_images_in_bytes_and_in_the_unit_interval_are_the_same_to_a_model() -> None:
    images = next(iter(DIGITS.test.batches(torch.arange(8), 8))).images
    predict = Predictor(model(), Infer(), replace(CPU, memory_format=torch.channels_last))
    torch.testing.assert_close(predict(images), predict(images / 255), rtol=1e-5, atol=1e-5)
