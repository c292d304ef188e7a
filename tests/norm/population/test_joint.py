"""Joint statistics: what is measured exactly, how the rest depends on the batch size, and what is left untouched."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from elinvar import norm
from elinvar.check import InputError
from elinvar.models.table import architecture
from elinvar.norm.population import PopulationReport, precise
from elinvar.views import Batch
from population_nets import Mixed, Volumes, images, memory_of, mixed, parts, population, shaken, worst

X = images(48)


def test_a_batch_of_everything_is_the_population_and_train_agrees_with_eval() -> None:
    model = mixed()
    expected = population(model, X)
    report = precise(model, [X])
    assert worst(model, expected) < 2e-6
    assert report.examples == 48
    assert report.unused == ("aux.1",)
    by_batch = copy.deepcopy(model).eval()
    for module in by_batch.modules():
        module.training = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    with torch.no_grad():
        torch.testing.assert_close(by_batch(X), model.eval()(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 7, 48])
def test_the_first_layer_is_exact_whatever_the_batches(size: int) -> None:
    model = mixed()
    expected = {name: value for name, value in population(model, X).items() if name.startswith("stem")}
    precise(model, parts(X, size), layers=["stem.*"])
    assert worst(model, expected) < 1e-6


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


@pytest.mark.parametrize("size", [2, 10, 100])
def test_the_second_layers_deficit_is_the_closed_form(size: int) -> None:
    """BN, square, BN of Gaussians: mean 1 for every B, variance (2 B - 4) / (B + 1) in place of 2.

    1,000 independent channels; 4 standard errors of their mean are allowed.
    """
    x = torch.randn(20, size, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = nn.Sequential(nn.BatchNorm1d(1000, eps=0.0), Square(), nn.BatchNorm1d(1000, eps=0.0)).double()
    precise(model, list(x))
    mean, variance = model.get_buffer("2.running_mean"), model.get_buffer("2.running_var")
    exact = (2 * size - 4) / (size + 1)
    assert (mean - 1).abs().max() < 1e-9
    assert abs(variance.mean().item() - exact) < 4 * variance.std().item() / math.sqrt(1000) + 1e-9
    precise(model, [x.flatten(0, 1)])
    assert abs(model.get_buffer("2.running_var").mean().item() - 2) < (0.5 if size == 2 else 0.2)


def test_statistics_approach_the_exact_ones_as_batches_grow() -> None:
    errors = []
    for size in (2, 8, 24, 48):
        model = mixed()
        expected = population(model, X)
        precise(model, parts(X, size))
        of_variances = [(model.get_buffer(name) / expected[name] - 1).abs() for name in expected if "var" in name]
        errors.append(torch.cat(of_variances).mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6 < 1e-2 < errors[0]


def test_equals_torchs_update_bn_where_that_is_right() -> None:
    """Equal batches, mean of batch variances with n - 1, no dropout: `swa_utils.update_bn`."""
    settings = architecture("resnet-10")
    model = shaken(settings.make(**settings.settings, classes=4))
    x = images(64, 3, 16, 16)
    theirs = copy.deepcopy(model)
    torch.optim.swa_utils.update_bn([(part,) for part in parts(x, 16)], theirs)
    precise(model, parts(x, 16), estimator="batches")
    for name, value in memory_of(theirs).items():
        torch.testing.assert_close(model.get_buffer(name), value, rtol=2e-5, atol=2e-6)


def test_correction_is_bessels() -> None:
    biased, unbiased = mixed(), mixed()
    precise(biased, parts(X, 16))
    precise(unbiased, parts(X, 16), correction=1)
    n = 48 * 64
    torch.testing.assert_close(unbiased.bn1.running_var, biased.bn1.running_var * (n / (n - 1)))
    torch.testing.assert_close(unbiased.bn1.running_mean, biased.bn1.running_mean)


class Everything(NamedTuple):
    """All of a model that must not change."""

    modes: list[bool]
    tensors: dict[str, Tensor]
    hooks: int
    counts: list[int]
    random: Tensor

    @classmethod
    def of(cls, model: nn.Module) -> "Everything":
        modules = list(model.modules())
        return cls(
            [module.training for module in modules],
            {name: tensor.clone() for name, tensor in model.state_dict().items() if "running" not in name},
            sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in modules),
            [int(b) for name, b in model.named_buffers() if "tracked" in name],
            torch.get_rng_state(),
        )

    def same(self, other: "Everything") -> bool:
        tensors = all(torch.equal(value, other.tensors[name]) for name, value in self.tensors.items())
        return tensors and torch.equal(self.random, other.random) and self[0::2][:2] == other[0::2][:2]


@pytest.mark.parametrize("method", ["joint", "layerwise"])
@pytest.mark.parametrize("training", [True, False])
def test_running_twice_changes_nothing_and_only_the_memory_is_written(method: str, training: bool) -> None:
    model = mixed().train(training)
    model.drop.train(not training)
    identities = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    before = Everything.of(model)
    loader: Any = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, torch.arange(48)), 16, shuffle=True)
    precise(model, loader, method=method)
    once = memory_of(model)
    assert before.same(Everything.of(model))
    assert {id(tensor) for tensor in (*model.parameters(), *model.buffers())} == identities
    precise(model, loader, method=method)  # the same shuffle, because the random state came back
    torch.testing.assert_close(memory_of(model), once, rtol=0, atol=0)
    assert model.bn1.num_batches_tracked == 0


@pytest.mark.parametrize("method", ["joint", "layerwise"])
@pytest.mark.parametrize("model", [mixed, lambda: norm.convert(mixed(), norm.split(("main", "aux")))])
def test_an_error_on_the_way_restores_everything(method: str, model: Callable[[], nn.Module]) -> None:
    def interrupted() -> Iterator[Tensor]:
        yield from parts(X, 16)
        raise ConnectionError("the disk is gone")

    net = model().train()
    before, memory = Everything.of(net), memory_of(net)
    policies = [module.policy for module in net.modules() if isinstance(module, norm.Norm)]
    with pytest.raises(ConnectionError, match="the disk is gone"):
        precise(net, interrupted(), method=method)
    bad = X.clone()
    bad[40, 1, 2, 3] = float("nan")
    with pytest.raises(InputError, match=r"layer 'stem.1' is the first .* in batch 2"):
        precise(net, parts(bad, 16), method=method)

    def failing(model: nn.Module, batch: Tensor) -> None:
        model(batch)
        raise KeyError("after the forward")

    with pytest.raises(KeyError, match="after the forward"):
        precise(net, parts(X, 16), method=method, forward=failing)
    assert before.same(Everything.of(net))
    torch.testing.assert_close(memory_of(net), memory, rtol=0, atol=0)
    assert policies == [module.policy for module in net.modules() if isinstance(module, norm.Norm)]
    assert all(module.session is None for module in net.modules() if isinstance(module, norm.Norm))


def test_examples_are_counted_and_the_last_batch_is_cut() -> None:
    model, expected = mixed(), population(mixed(), X[:20])
    served = []

    def loader() -> Iterator[tuple[Tensor, Tensor]]:
        for part in parts(X, 8):
            served.append(len(part))
            yield part, torch.zeros(len(part))

    report = precise(model, loader(), examples=20)
    assert report.batches == (8, 8, 4)
    assert served == [8, 8, 8]
    assert worst(model, {k: v for k, v in expected.items() if k.startswith("stem")}) < 1e-6
    with pytest.warns(UserWarning, match="examples: 100 were asked for, the batches gave 48"):
        precise(model, parts(X, 8), examples=100)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: (x, torch.zeros(len(x))),
        lambda x: [x, "names"],
        lambda x: {"pixel_values": x, "labels": torch.zeros(len(x))},
        lambda x: Batch(x, torch.zeros(len(x), dtype=torch.int64), torch.arange(len(x))),
    ],
    ids=["tuple", "list", "mapping", "Batch"],
)
@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_batches_of_any_kind(wrap: Callable[[Tensor], Any], method: str) -> None:
    model, same, custom = mixed(), mixed(), mixed()
    precise(model, parts(X[:20], 8), method=method)
    batches = [*map(wrap, parts(X, 8)), wrap(X[:0])]
    precise(same, batches, method=method, examples=20)
    torch.testing.assert_close(memory_of(model), memory_of(same), rtol=0, atol=0)

    def forward(model: nn.Module, batch: Any) -> None:
        batch = batch.images if isinstance(batch, Batch) else batch
        model(batch["pixel_values"] if isinstance(batch, dict) else batch if isinstance(batch, Tensor) else batch[0])

    precise(custom, batches, method=method, examples=20, forward=forward)
    torch.testing.assert_close(memory_of(model), memory_of(custom), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("batches", "settings", "text"),
    [
        (X, {}, r"images\.split"),
        ([], {}, "no examples"),
        ([{"a": X}], {}, "expected exactly one of"),
        ([["name"]], {}, "a batch of type str"),
        ([{"a": 1}], {"forward": lambda m, b: None}, "holds no tensor"),
        ([X], {"method": "exact"}, "unknown method 'exact'"),
        ([X], {"shared": "all"}, "unknown way"),
        ([X], {"examples": 0}, "examples: got 0"),
        ([X], {"keep_sharing": True, "method": "layerwise"}, "leave keep_sharing out"),
        ([X], {"memory": 10}, "only for method='layerwise'"),
        ([X], {"memory": -1, "method": "layerwise"}, "at least 0 bytes"),
        ([X], {"layers": ["stage*"]}, r"no normalization layer matches 'stage\*'"),
        ([X], {"branch": "weak"}, "no layer has a branch 'weak'"),
    ],
)
def test_what_cannot_be_done_is_refused(batches: Any, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        precise(mixed(), batches, **settings)


def test_models_without_anything_to_measure_are_refused() -> None:
    nothing = [nn.Linear(2, 2), nn.BatchNorm1d(3, track_running_stats=False), norm.freeze(nn.BatchNorm1d(3))]
    for model in nothing:
        with pytest.raises(InputError, match="no normalization layer to measure"):
            precise(model, [torch.ones(4, 3)])


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_a_forward_that_reaches_no_layer_is_no_measurement(method: str) -> None:
    with pytest.raises(InputError, match=r"no forward reached any of the layers \['stem.1'"):
        precise(mixed(), parts(X, 16), method=method, forward=lambda model, batch: model.out)


def test_a_batch_that_is_one_value_cannot_normalize_itself() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(InputError, match=r"one value of each channel .*drop_last=True"):
        precise(model, parts(images(9, 3), 8))
    precise(model, parts(images(9, 3), 8), method="layerwise")


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_frozen_unused_and_forgetful_layers_are_left_alone_and_named(method: str) -> None:
    model = mixed().train()
    model.left[1] = nn.BatchNorm2d(5, track_running_stats=False)
    model.down.eval()
    model.bn1 = norm.freeze(model.bn1)
    before = memory_of(model)
    report = precise(model, parts(X, 16), method=method)
    assert report.frozen == ("bn1", "down.1")
    assert report.forgetful == ("left.1",)
    assert report.unused == ("aux.1",)
    after = memory_of(model)
    changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {layer.name for layer in report.layers} == {"stem.1", "bn2", "right.0", "last"}


class Twice(nn.Module):
    """One layer on two inputs of different scale and size."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.second = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.bn(x), self.second(self.bn(3 * x[..., ::2, ::2] + 1))


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_a_layer_that_runs_twice_needs_a_word(method: str) -> None:
    model: Any = Twice()
    with pytest.raises(InputError, match=r"layer 'bn' runs more than once .* shared='pool'.* norm\.split"):
        precise(model, parts(X, 16), method=method)
    report = precise(model, parts(X, 16), method=method, shared="pool")
    both = torch.cat([X.transpose(0, 1).flatten(1), (3 * X[..., ::2, ::2] + 1).transpose(0, 1).flatten(1)], 1).double()
    torch.testing.assert_close(model.bn.running_mean.double(), both.mean(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.bn.running_var.double(), both.var(1, correction=0), rtol=1e-6, atol=1e-6)
    assert [layer.calls for layer in report.layers] == [2, 1]
    assert "2 calls pooled" in str(report)
    assert model.second.running_mean.abs().max() < 1e-5  # each call is normalized by its own moments
    assert (model.second.running_var - 1).abs().max() < 1e-4


@pytest.mark.parametrize("method", ["joint", "layerwise"])
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_does_not_count_twice(method: str, use_reentrant: bool) -> None:
    class Checkpointed(Mixed):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = checkpoint(super().forward, x.requires_grad_(), use_reentrant=use_reentrant)
            return out

    model, plain = Checkpointed(), mixed()
    report = precise(model, [part.clone() for part in parts(X, 16)], method=method)
    precise(plain, parts(X, 16), method=method)
    torch.testing.assert_close(memory_of(model), memory_of(plain), rtol=0, atol=0)
    assert report.layers[0].count == 48 * 64


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_volumes_lengths_and_channels_last(method: str) -> None:
    x = images(24, 2, 4, 4, 4)
    model = Volumes()
    expected = population(model, x)
    precise(model, [x], method=method)
    assert worst(model, expected) < 2e-6
    a, b = mixed(), mixed().to(memory_format=torch.channels_last)
    precise(a, parts(X, 16), method=method)
    precise(b, [part.contiguous(memory_format=torch.channels_last) for part in parts(X, 16)], method=method)
    torch.testing.assert_close(memory_of(a), memory_of(b), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_half_precision_and_autocast(method: str) -> None:
    plain, autocast, half = mixed(), mixed(), mixed().bfloat16()
    ours = norm.convert(mixed(), norm.batch_norm()).bfloat16()
    precise(plain, parts(X, 16), method=method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        precise(autocast, parts(X, 16), method=method)
        expected = population(mixed(), X, run=lambda m, x: m.float()(x.float()))  # by one batch, under autocast too
    precise(half, parts(X.bfloat16(), 16), method=method)
    precise(ours, parts(X.bfloat16(), 16), method=method)
    assert autocast.bn1.running_mean.dtype == torch.float32
    assert not torch.equal(autocast.bn1.running_mean, plain.bn1.running_mean)  # convolutions did run in bfloat16
    assert half.bn1.running_mean.dtype == torch.bfloat16
    assert isinstance(ours.bn1, norm.Norm)
    assert ours.bn1.running_mean is not None
    assert ours.bn1.running_mean.dtype == torch.float32
    for model, tolerance in ((autocast, 0.02), (half, 0.06), (ours, 0.05)):
        assert worst(model, population(mixed(), X)) < tolerance + (0.3 if method == "joint" else 0.0)
    if method == "layerwise":
        assert worst(autocast, expected) < 0.01


def test_ghosts_are_off_unless_asked_for() -> None:
    ghost = norm.convert(mixed(), norm.ghost(4))
    plain, kept = mixed(), copy.deepcopy(ghost)
    precise(plain, parts(X, 16))
    precise(ghost, parts(X, 16))
    torch.testing.assert_close(memory_of(ghost), memory_of(plain), rtol=0, atol=0)
    precise(kept, parts(X, 16), keep_sharing=True)
    assert not torch.allclose(kept.bn2.running_var, plain.bn2.running_var, rtol=1e-3)
    torch.testing.assert_close(kept.stem[1].running_var, plain.stem[1].running_var, rtol=1e-6, atol=0)
    assert int(kept.bn1.num_batches_tracked) == 0


def test_kept_sharing_normalizes_as_training_does() -> None:
    kept = norm.convert(mixed(), norm.ghost(4, "blocks"))
    precise(kept, [X[:16]], keep_sharing=True)
    by_four = mixed()
    precise(by_four, parts(X[:16], 4))
    for name, value in memory_of(by_four).items():
        torch.testing.assert_close(kept.get_buffer(name), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_channel_groups_stay_and_layers_that_were_group_norm_go_on_as_such(method: str) -> None:
    grouped = norm.convert(mixed(), norm.NormPolicy(sharing=norm.WholeBatch(channel_groups=1)))
    precise(grouped, [X], method=method)
    x = X.double()
    reference = copy.deepcopy(
        norm.convert(mixed(), norm.NormPolicy(sharing=norm.WholeBatch(channel_groups=1)))
    ).double()
    by_training: dict[str, Tensor] = {}
    for name, module in reference.eval().named_modules():
        if isinstance(module, norm.Norm):
            module.training = True
            module.register_forward_pre_hook(
                lambda _, args, name=name: by_training.update({name: args[0].transpose(0, 1).flatten(1).mean(1)})
            )
    with torch.no_grad():
        reference(x)
    for name, mean in by_training.items():
        torch.testing.assert_close(grouped.get_buffer(f"{name}.running_mean").double(), mean, rtol=1e-5, atol=1e-5)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4))
    seen: list[Tensor] = []
    net[3].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        net(X)
    ours: Any = norm.convert(copy.deepcopy(net[:3]), norm.example_weighted(0.9), group_norm=True)
    whole: Any = nn.Sequential(*ours, norm.convert(nn.GroupNorm(2, 4), norm.example_weighted(0.9), group_norm=True))
    precise(whole, parts(X, 16), method=method)
    flat = seen[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(whole[3].running_mean, flat.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(whole[3].running_var, flat.var(1, correction=0), rtol=1e-5, atol=1e-6)
    assert whole[1].policy.inference == norm.ExampleWeighted(0.9)


@pytest.mark.parametrize("method", ["joint", "layerwise"])
def test_each_branch_has_its_own_population(method: str) -> None:
    split = norm.convert(mixed(), norm.split(("main", "aux")) | norm.example_weighted(0.3))
    inner, plain, other = copy.deepcopy(split), mixed(), mixed()
    strong = 2 * X + 1
    precise(split, parts(X, 16), method=method)
    precise(split, parts(strong, 16), method=method, branch="aux")
    precise(plain, parts(X, 16), method=method)
    precise(other, parts(strong, 16), method=method)
    torch.testing.assert_close(
        {name: split.get_buffer(name) for name in memory_of(plain)}, memory_of(plain), rtol=0, atol=0
    )
    torch.testing.assert_close(split.bn1.branches["aux"].running_var, other.bn1.running_var, rtol=0, atol=0)
    with norm.branch(inner, "aux"):
        precise(inner, parts(strong, 16), method=method)
    torch.testing.assert_close(inner.bn1.branches["aux"].running_var, other.bn1.running_var, rtol=0, atol=0)
    assert torch.equal(inner.bn1.running_var, mixed().bn1.running_var)


def test_the_report_says_how_far_the_memory_was_and_undoes() -> None:
    model = mixed()
    before = memory_of(model)
    report: PopulationReport = precise(model, parts(X, 12))
    after = memory_of(model)
    layer = next(layer for layer in report.layers if layer.name == "bn1")
    eps = model.bn1.eps
    sigma = (after["bn1.running_var"] + eps).sqrt()
    shift = (before["bn1.running_mean"] - after["bn1.running_mean"]).abs() / sigma
    torch.testing.assert_close(layer.shift, shift.double(), rtol=1e-5, atol=1e-6)
    ratio = (before["bn1.running_var"] + eps) / (after["bn1.running_var"] + eps)
    torch.testing.assert_close(layer.ratio, ratio.double(), rtol=1e-5, atol=1e-6)
    assert (layer.standard_error < 0.5).all()
    text = str(report)
    assert "joint statistics of 7 layers from 48 examples in batches of 12" in text
    assert "unused: aux.1" in text
    norm.convert(model, norm.split())  # undo finds layers by name
    report.undo()
    torch.testing.assert_close({name: model.get_buffer(name) for name in before}, before, rtol=0, atol=0)
    again = precise(model, parts(X, 12), layers=["bn*"])
    assert {layer.name for layer in again.layers} == {"bn1", "bn2"}
    model.bn1 = nn.Identity()
    with pytest.raises(InputError, match=r"cannot undo.*\['bn1'\]"):
        again.undo()
    model.bn1 = norm.Norm(8, norm.no_memory())
    with pytest.raises(InputError, match=r"cannot undo.*\['bn1'\]"):
        again.undo()


def test_batches_may_be_made_with_the_model_itself() -> None:
    model, plain = mixed(), mixed()

    def loader() -> Iterator[Tensor]:
        for part in parts(X, 16):
            torch.testing.assert_close(model(part), source(part), rtol=0, atol=0)
            yield part

    source = mixed().eval()
    precise(model, loader())
    precise(plain, parts(X, 16))
    torch.testing.assert_close(memory_of(model), memory_of(plain), rtol=0, atol=0)


def test_progress_is_told() -> None:
    seen: list[tuple[int, int | None, str]] = []
    precise(mixed(), parts(X, 16), examples=40, progress=lambda *step: seen.append(step))
    assert seen == [(16, 40, "batch 1"), (32, 40, "batch 2"), (40, 40, "batch 3")]


def test_a_bar_is_shown_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    precise(mixed(), parts(X, 16), progress=True)
    precise(mixed(), parts(X, 16), progress=True, method="layerwise")
    assert capsys.readouterr() == ("", "")
