"""The step: exactly one forward changes memory, whatever else looks at the model."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from elinvar import norm
from elinvar.context import Context, Transform
from elinvar.objectives import Consistency, CrossEntropy
from elinvar.precision import Compute, Precision
from elinvar.recipe import Sgd, Train, ViewSpec
from elinvar.rng import Seeds, Source
from elinvar.train import NotFinite, Step
from elinvar.views import Batch, View

CPU = Compute.choose(torch.device("cpu"), Precision.FLOAT32)


@dataclass(frozen=True)
class GradientSign(Transform):
    """An attack-like view: forwards in training mode, and a gradient through the model."""

    size: float = 0.1
    looks: int = 2

    def __call__(self, view: View, context: Context, *path: int | str) -> View:
        images = view.images.clone().requires_grad_()
        for _ in range(self.looks):
            loss = nn.functional.cross_entropy(context.logits(images, view.branch), view.targets)
            (slope,) = torch.autograd.grad(loss, images)
        return view.with_images((images.detach() + self.size * slope.sign()).clamp(0, 1))


@dataclass(frozen=True)
class Noise(Transform):
    """Keyed noise, to see that draws depend on nothing but the example."""

    def __call__(self, view: View, context: Context, *path: int | str) -> View:
        stream = context.streams(Source.AUGMENT, view.index, *path)
        shift = torch.frac(stream.double() / 2**40).abs().float()
        return view.with_images((view.images + 0.1 * shift[:, None, None, None]).clamp(0, 1))


class Net(nn.Module):
    """Small, with BatchNorm; its body can be run under activation checkpointing."""

    def __init__(self, *, checkpointed: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, 8, 3)
        )
        self.head = nn.Sequential(nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.body, x, use_reentrant=False) if self.checkpointed else self.body(x)
        out: Tensor = self.head(x)
        return out


def net(policy: norm.NormPolicy | None = None, **settings: object) -> Net:
    torch.manual_seed(0)
    return norm.convert(Net(**settings), policy or norm.batch_norm())  # type: ignore[arg-type]


def batch(n: int = 12, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(n, 3, 8, 8, generator=draw), torch.arange(n) % 4, torch.arange(n) + 100)


def step(model: nn.Module, train: Train) -> Step:
    return Step(model, train, Sgd(lr=0.1).build(model), Seeds(1), CPU)


def memory(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items() if "running" in key or "tracked" in key}


def close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-5, atol=1e-6, msg=key)


PLAIN = Train(objective=CrossEntropy(over=("clean",)))


def test_a_plain_step_equals_torch_by_hand() -> None:
    model, by_hand = net(), net()
    by_hand = norm.restore(by_hand)
    data = batch()
    report = step(model, PLAIN)(data, epoch=0, number=0)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loss = nn.functional.cross_entropy(by_hand(data.images), data.targets)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert report.loss == pytest.approx(loss.item(), rel=1e-6)
    assert report.examples == 12
    close(dict(model.state_dict()), dict(by_hand.state_dict()))


@pytest.mark.parametrize("policy", [norm.batch_norm(), norm.per_view(), norm.split()], ids=["joint", "views", "split"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_looking_at_the_model_leaves_no_trace(policy: norm.NormPolicy, checkpointed: bool) -> None:
    """The step with an attack must remember what a step on the very same, precomputed images remembers."""
    views = (ViewSpec(name="clean"), ViewSpec(name="attacked", transforms=(GradientSign(),), branch="aux"))
    train = replace(PLAIN, views=views, norm=policy, objective=CrossEntropy(over=("clean", "attacked")))
    model, data = net(policy, checkpointed=checkpointed), batch()
    before = memory(model)
    looking = step(model, train)
    attacked = train.prepare(data, Context(Seeds(1), 0, model.train(), looking.forward))["attacked"]
    close(before, memory(model))

    @dataclass(frozen=True)
    class Precomputed(Transform):
        def __call__(self, view: View, context: Context, *path: int | str) -> View:
            return view.with_images(attacked.images)

    known = replace(train, views=(views[0], replace(views[1], transforms=(Precomputed(),))))
    other = net(policy)
    looking(data, epoch=0, number=0)
    step(other, known)(data, epoch=0, number=0)
    close(memory(model), memory(other))
    close(dict(model.state_dict()), dict(other.state_dict()))
    counts = {int(value) for key, value in model.state_dict().items() if "tracked" in key}
    assert counts == {1}


@pytest.mark.parametrize("checkpointed", [False, True])
def test_accumulation_commits_once_by_pooled_moments(checkpointed: bool) -> None:
    data = batch(10)
    model = net(checkpointed=checkpointed)
    parts = step(model, replace(PLAIN, accumulate=3))
    first = model.body[1]
    seen = model.body[0](data.images).detach().transpose(0, 1).flatten(1)
    report = parts(data, epoch=0, number=0)
    assert {int(value) for key, value in memory(model).items() if "tracked" in key} == {1}
    torch.testing.assert_close(first.running_mean, 0.1 * seen.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first.running_var, 0.9 + 0.1 * seen.var(1), rtol=1e-5, atol=1e-6)
    assert report.examples == 10


def test_accumulated_gradients_are_those_of_the_batch_where_no_layer_shares_statistics() -> None:
    frozen = [net().eval(), net().eval()]
    losses = [
        step(model, replace(PLAIN, accumulate=parts))(batch(10), epoch=0, number=0)
        for model, parts in zip(frozen, (1, 4), strict=True)
    ]
    assert losses[0].loss == pytest.approx(losses[1].loss, rel=1e-5)
    close(dict(frozen[0].state_dict()), dict(frozen[1].state_dict()))


def test_a_loss_that_is_not_finite_writes_nothing() -> None:
    model, data = net(), batch()
    with torch.no_grad():
        model.get_parameter("head.3.weight")[0, 0] = float("nan")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(NotFinite, match="epoch 3, step 8"):
        step(model, PLAIN)(data, epoch=2, number=7)
    assert all(torch.equal(value, before[key]) or "head.3.weight" in key for key, value in model.state_dict().items())
    norm.commit(model)  # the failed step left no proposal behind
    close(
        before | {"head.3.weight": torch.zeros(4, 8)}, dict(model.state_dict()) | {"head.3.weight": torch.zeros(4, 8)}
    )


def test_a_gradient_that_is_not_finite_writes_nothing() -> None:
    class Cliff(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            return gradient * float("inf")

    model = net()
    model.head.append(nn.Identity())
    model.head[-1].forward = Cliff.apply
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(NotFinite, match="gradient"):
        step(model, PLAIN)(batch(), epoch=0, number=0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_draws_follow_the_example_not_the_batch() -> None:
    train = replace(PLAIN, views=(ViewSpec(name="a", transforms=(Noise(),)), ViewSpec(name="b", transforms=(Noise(),))))
    data = batch()
    context = Context(Seeds(1), 0, net(), CPU.forward(net()))
    whole = train.prepare(data, context)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    mixed = train.prepare(Batch(data.images[order], data.targets[order], data.index[order]), context)
    assert torch.equal(whole["a"].images[order], mixed["a"].images)
    assert not torch.equal(whole["a"].images, whole["b"].images)
    later = train.prepare(data, replace(context, epoch=1))
    assert not torch.equal(whole["a"].images, later["a"].images)
    reshuffled = train.prepare(data, replace(context, seeds=Seeds(1, {Source.SHUFFLE: 9})))
    assert torch.equal(whole["a"].images, reshuffled["a"].images)


def test_dropout_is_keyed_by_the_step_and_leaves_the_global_generator_alone() -> None:
    losses: list[float] = []
    for number in (0, 0, 1):
        torch.manual_seed(len(losses))
        state = torch.get_rng_state()
        losses.append(step(net(dropout=0.5), PLAIN)(batch(), epoch=0, number=number).loss)
        torch.manual_seed(len(losses) - 1)
        assert torch.equal(torch.get_rng_state(), state)
    assert losses[0] == losses[1] != losses[2]


def test_parts_of_the_objective_are_reported() -> None:
    views = (ViewSpec(name="clean"), ViewSpec(name="b", transforms=(Noise(),)))
    objective = CrossEntropy(over=("clean",)) + Consistency(over=("clean", "b"), weight=12.0)
    report = step(net(), replace(PLAIN, views=views, objective=objective))(batch(), epoch=0, number=0)
    assert len(report.parts) == 2
    assert all(value >= 0 for value in report.parts.values())
