"""Laws of shared heads; the references are torch's layers, called as Wu and Johnson's appendix A.9 describes."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from elinvar import norm
from elinvar.check import InputError
from elinvar.norm import SharedHead
from elinvar.norm.memory import Bank
from elinvar.routing import Routing, Trace, route

LEVELS = ("p3", "p4", "p5")
ROWS: dict[int, dict[str, Any]] = {
    1: {"sharing": "joint"},
    2: {"sharing": "joint", "memory": "separate", "allow_inconsistent": True},
    3: {"sharing": "separate", "memory": "joint", "allow_inconsistent": True},
    4: {"sharing": "separate"},
    5: {"sharing": "separate", "memory": "joint", "affine": "separate", "allow_inconsistent": True},
    6: {"sharing": "separate", "affine": "separate"},
}


def block(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        relu = nn.ReLU(inplace=True)  # one object in two places
        second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), relu)
        layers = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), relu, second)
        for parameter in layers.parameters():
            nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0.0, 0.3)
    return layers.double()


def maps(seed: int = 0, batch: int = 3) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    sizes = ((6, 5), (3, 3), (1, 2))
    return [
        torch.randn(batch, 4, *size, generator=draw, dtype=torch.float64) * (level + 1) + level
        for level, size in enumerate(sizes)
    ]


def in_training(run: Callable[[list[Tensor]], Sequence[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and gradients of a weighted sum of them with respect to the inputs."""
    inputs = [x.requires_grad_() for x in maps()]
    outputs = run(inputs)
    sum((y * weight).sum() for y, weight in zip(outputs, maps(seed=9), strict=True)).backward()  # type: ignore[union-attr]
    return [y.detach() for y in outputs], [x.grad for x in inputs if x.grad is not None]


def close(a: object, b: object) -> None:
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def norms(head: nn.Module) -> list[norm.Norm]:
    return [module for module in head.modules() if isinstance(module, norm.Norm)]


def plain_norms(layers: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in layers.modules() if isinstance(module, nn.BatchNorm2d)]


def flattened(layer: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Row 1 by hand, for a plain block."""
    if isinstance(layer, nn.Sequential):
        for child in layer:
            inputs = flattened(child, inputs)
        return list(inputs)
    if not isinstance(layer, nn.BatchNorm2d):
        return [layer(x) for x in inputs]
    columns = layer(torch.cat([x.flatten(2) for x in inputs], 2).unsqueeze(3)).squeeze(3)
    parts = columns.split([x[0, 0].numel() for x in inputs], 2)
    return [part.reshape(x.shape).clone() for part, x in zip(parts, inputs, strict=True)]


def each(layers: nn.Module) -> Callable[[list[Tensor]], list[Tensor]]:
    return lambda inputs: [layers(x) for x in inputs]


def test_joint_is_batchnorm_of_all_levels_side_by_side() -> None:
    plain, head = block(), SharedHead(block(), LEVELS, sharing="joint")
    for _ in range(2):
        close(in_training(head), in_training(lambda inputs: flattened(plain, inputs)))
    close(gradients(head), gradients(plain))
    close(dict(head.state_dict()), dict(plain.state_dict()))
    plain.eval(), head.eval()
    close(head(maps(1)), each(plain)(maps(1)))


def test_separate_levels_are_layers_of_their_own_around_shared_convolutions() -> None:
    head = SharedHead(block(), LEVELS, affine="separate")
    alone = [block() for _ in LEVELS]
    ours = in_training(head)
    close(ours, in_training(lambda inputs: [layers(x) for layers, x in zip(alone, inputs, strict=True)]))
    close(gradients(head)["0.weight"], sum(gradients(a)["0.weight"] for a in alone))
    for level, layers in zip(LEVELS, alone, strict=True):
        for ours_of, theirs in zip(norms(head), plain_norms(layers), strict=True):
            bank = ours_of.bank(level)
            close(dict(bank.named_buffers(recurse=False)), dict(theirs.named_buffers()))
            for name, parameter in theirs.named_parameters():
                close(getattr(bank, name).grad, parameter.grad)
        layers.eval()
    head.eval()
    close(head(maps(1)), [layers(x) for layers, x in zip(alone, maps(1), strict=True)])


def test_a_shared_gamma_gathers_the_gradients_of_all_levels() -> None:
    shared, separate = SharedHead(block(), LEVELS), SharedHead(block(), LEVELS, affine="separate")
    close(in_training(shared), in_training(separate))
    for one, own in zip(norms(shared), norms(separate), strict=True):
        assert one.weight is not None
        close(one.weight.grad, sum(own.bank(level).weight.grad for level in LEVELS))  # type: ignore[union-attr, misc]


@pytest.mark.parametrize("row", [3, 5])
def test_separate_statistics_with_one_memory_are_what_calling_a_layer_for_each_level_does(row: int) -> None:
    plain, head = block(), SharedHead(block(), LEVELS, **ROWS[row])
    for _ in range(3):
        close(in_training(head), in_training(each(plain)))
    for ours, theirs in zip(norms(head), plain_norms(plain), strict=True):
        for level in LEVELS:
            close(dict(ours.bank(level).named_buffers(recurse=False)), dict(theirs.named_buffers()))
        assert ours.num_batches_tracked == 3 * len(LEVELS)
    plain.eval(), head.eval()
    close(head(maps(1)), each(plain)(maps(1)))


def test_joint_statistics_with_separate_memory_show_each_level_its_own() -> None:
    one, head = SharedHead(block(), LEVELS, sharing="joint"), SharedHead(block(), LEVELS, **ROWS[2])
    close(in_training(head), in_training(one))
    close(gradients(head)["3.1.weight"], gradients(one)["3.1.weight"])
    first = norms(head)[0]
    for level, x in zip(LEVELS, maps(), strict=True):
        values = block()[0](x).transpose(0, 1).flatten(1)
        close(first.bank(level).running_mean, 0.1 * values.mean(1))
        close(first.bank(level).running_var, 0.9 + 0.1 * values.var(1))
        assert first.bank(level).num_batches_tracked == 1
    head.eval(), one.eval()
    assert not torch.allclose(head(maps())[2], one(maps())[2])


@pytest.mark.parametrize("row", ROWS)
def test_a_plain_checkpoint_loads_and_what_is_saved_loads_again(row: int) -> None:
    plain = block(seed=3)
    for seed in range(3):
        each(plain)(maps(seed))
    head = SharedHead(block(), LEVELS, **ROWS[row])
    head.load_state_dict(plain.state_dict())
    plain.eval(), head.eval()
    close(head(maps()), each(plain)(maps()))
    assert list(plain.state_dict()) == [key for key in head.state_dict() if ".branches." not in key]
    head.train()
    in_training(head)
    other = SharedHead(block(), LEVELS, **ROWS[row])
    other.load_state_dict(head.state_dict())
    close(other.eval()(maps()), head.eval()(maps()))
    places = [value.data_ptr() for value in head.state_dict().values()]
    assert len(set(places)) == len(places)  # safetensors refuses tensors that share memory


@pytest.mark.parametrize("row", [1, 3])
def test_weights_of_any_head_move_to_one_with_a_memory_for_each_level(row: int) -> None:
    trained, other = SharedHead(block(), LEVELS, **ROWS[row]), SharedHead(block(), LEVELS)
    in_training(trained)
    other.load_state_dict(trained.state_dict())
    close(other.eval()(maps()), trained.eval()(maps()))


@pytest.mark.parametrize(
    "change",
    [
        copy.deepcopy,
        lambda head: pickle.loads(pickle.dumps(head)),
        lambda head: head.float().double(),
        lambda head: head.load_state_dict(copy.deepcopy(head.state_dict()), assign=True) and head,
    ],
    ids=["deepcopy", "pickle", "cast", "assign"],
)
def test_one_memory_stays_one(change: Callable[[nn.Module], nn.Module]) -> None:
    head = change(SharedHead(block(), LEVELS, **ROWS[3]))
    head(maps())
    assert {int(bank.num_batches_tracked) for bank in head.modules() if isinstance(bank, Bank)} == {3}  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ROWS)
def test_a_trace_is_obeyed(row: int) -> None:
    head = SharedHead(block(), LEVELS, **ROWS[row])
    before = copy.deepcopy(head.state_dict())
    with route(head, Routing(("main",)), Trace.NOTHING):
        head(maps())
    norm.commit(head)
    close(dict(head.state_dict()), dict(before))
    with route(head, Routing(("main", "main"), (1, 2)), Trace.PROPOSE):
        head(maps())
    close(dict(head.state_dict()), dict(before))
    norm.commit(head)
    at_once = SharedHead(block(), LEVELS, **ROWS[row])
    at_once(maps())
    close(dict(head.state_dict()), dict(at_once.state_dict()))


def test_two_micro_batches_of_a_step_move_the_memory_of_each_level_once() -> None:
    head = SharedHead(block(), LEVELS)
    for seed in range(2):
        with route(head, Routing(("main",)), Trace.PROPOSE):
            head(maps(seed))
    norm.commit(head)
    both = [torch.cat(pair) for pair in zip(maps(0), maps(1), strict=True)]
    for level, x in zip(LEVELS, both, strict=True):
        bank = norms(head)[0].bank(level)
        assert bank.num_batches_tracked == 1
        close(bank.running_mean, 0.1 * block()[0](x).transpose(0, 1).flatten(1).mean(1))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_is_remembered_once(row: int, use_reentrant: bool) -> None:
    head, plain = SharedHead(block(), LEVELS, **ROWS[row]), SharedHead(block(), LEVELS, **ROWS[row])

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(head(list(inputs)))

    ours = in_training(lambda inputs: checkpoint(run, *inputs, use_reentrant=use_reentrant))
    close(ours, in_training(plain))
    close(gradients(head), gradients(plain))
    close(dict(head.state_dict()), dict(plain.state_dict()))


@pytest.mark.parametrize("sharing", ["joint", "separate"])
def test_ghosts_are_cut_within_what_shares(sharing: Any) -> None:
    head = SharedHead(block(), LEVELS, sharing=sharing, policy=norm.ghost(2, "blocks"))
    inputs = maps(batch=4)
    halves = [
        SharedHead(block(), LEVELS, sharing=sharing)([x[part] for x in inputs]) for part in (slice(2), slice(2, 4))
    ]
    close(head(inputs), [torch.cat(pair) for pair in zip(*halves, strict=True)])


def test_examples_weigh_in_by_all_levels_or_by_their_own() -> None:
    sharing: Literal["joint", "separate"]
    for sharing in ("joint", "separate"):
        layers = [nn.BatchNorm2d(4, affine=False).double()]
        head = SharedHead(layers, LEVELS, sharing=sharing, policy=norm.example_weighted(1.0))
        outputs = head.eval()(maps())
        if sharing == "joint":
            together = torch.cat([y.flatten(2) for y in outputs], 2)
            close(together.mean(2), torch.zeros(3, 4, dtype=torch.float64))
            assert not torch.allclose(outputs[2].mean((2, 3)), torch.zeros(3, 4, dtype=torch.float64))
        else:
            for y in outputs:
                close(y.mean((2, 3)), torch.zeros(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("row", ROWS)
def test_a_frozen_head_normalizes_by_its_memory_and_keeps_it(row: int) -> None:
    head = SharedHead(block(), LEVELS, **ROWS[row])
    in_training(head)
    expected = head.eval()(maps())
    norm.freeze(head).train()
    before = copy.deepcopy(head.state_dict())
    close(head(maps()), expected)
    close(dict(head.state_dict()), dict(before))


@pytest.mark.parametrize("row", ROWS)
def test_an_empty_batch_is_passed_through_and_not_remembered(row: int) -> None:
    head = SharedHead(block(), LEVELS, **ROWS[row])
    before = copy.deepcopy(head.state_dict())
    outputs = head(maps(batch=0))
    assert [y.shape for y in outputs] == [x.shape for x in maps(batch=0)]
    close(dict(head.state_dict()), dict(before))


@pytest.mark.parametrize("method", ["joint", "layerwise"])
@pytest.mark.parametrize("row", [1, 4, 6])
def test_precise_statistics_of_one_batch_are_those_of_training(row: int, method: str) -> None:
    head = SharedHead(block(), LEVELS, **ROWS[row])
    expected = head(maps())
    for level in (None,) if row == 1 else LEVELS:
        norm.precise(head, [maps()], method=method, branch=level, forward=lambda head, inputs: head(inputs))
    torch.testing.assert_close(head.eval()(maps()), expected, rtol=1e-9, atol=1e-9)


def test_branches_of_views_pass_through_a_joint_head_only() -> None:
    mixed = Routing(("main", "aux"), (1, 2))
    head = SharedHead(block(), LEVELS, sharing="joint", policy=norm.split())
    with route(head, mixed, Trace.COMMIT):
        outputs = head(maps())
    rows = [SharedHead(block(), LEVELS, sharing="joint")([x[part] for x in maps()]) for part in (slice(1), slice(1, 3))]
    close(outputs, [torch.cat(pair) for pair in zip(*rows, strict=True)])
    separate = SharedHead(block(), LEVELS)
    with route(separate, mixed, Trace.COMMIT), pytest.raises(InputError, match="forward each of these by itself"):
        separate(maps())
    of_others = Routing(("main", "main"), (1, 1))
    with route(separate, of_others, Trace.COMMIT), pytest.raises(InputError, match="covers 2 rows"):
        separate(maps())


def test_an_error_in_the_middle_restores_what_was_set() -> None:
    head = SharedHead(block(), LEVELS)
    single = [*maps(batch=1)[:2], torch.zeros(1, 4, 1, 1, dtype=torch.float64)]
    with pytest.raises(InputError, match="more than 1 value per channel"):
        head(single)
    assert all(layer.session is None for layer in norms(head))
    outer = Routing(("main",))
    with route(head, outer, Trace.NOTHING):
        with pytest.raises(InputError, match="more than 1 value per channel"):
            head(single)
        assert all(layer.session is not None and layer.session.routing is outer for layer in norms(head))
    SharedHead(block(), LEVELS, sharing="joint")(single)  # where the small level is not alone


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.norm(x))


class Odd(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SharedHead(block(), LEVELS, memory="joint"), r"34\.1 AP.*row 3.*memory='separate'"),
        (lambda: SharedHead(block(), LEVELS, memory="joint", affine="separate"), r"35\.5 AP.*row 5"),
        (lambda: SharedHead(block(), LEVELS, sharing="joint", memory="separate"), r" 2\.1 AP.*row 2.*memory='joint'"),
        (lambda: SharedHead(block(), LEVELS, sharing="joint", affine="separate"), "sharing='separate'"),
        (lambda: SharedHead([Residual()], LEVELS), "Residual holds a BatchNorm2d"),
        (lambda: SharedHead([Odd(nn.BatchNorm2d(4))], LEVELS), "Odd holds a BatchNorm2d"),
        (lambda: SharedHead([nn.Conv2d(4, 4, 1)], LEVELS), "no BatchNorm layer to convert"),
        (lambda: SharedHead(block(), ("p3", "p 4")), "identifiers"),
        (lambda: SharedHead(block(), LEVELS, policy=norm.split()), "contradict each other on branches"),
        (lambda: SharedHead(block(), LEVELS)(maps()[:2]), "got 2 inputs, expected a list of one input for each"),
        (
            lambda: SharedHead(block(), LEVELS, sharing="joint")([*maps()[:2], maps(batch=2)[2]]),
            "one batch size and number of channels",
        ),
        (lambda: norm.restore(SharedHead(block(), LEVELS))(maps()), "build a head around the layers again"),
        (lambda: norm.restore(SharedHead(block(), LEVELS).eval())(maps()), "build a head around the layers again"),
        (lambda: norm.restore(SharedHead(block(), LEVELS, sharing="joint"))(maps()), "build a head around"),
    ],
)
def test_refusals_say_what_to_do(make: Callable[[], object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


def test_a_joint_head_restored_for_prediction_goes_on() -> None:
    head = SharedHead(block(), LEVELS, sharing="joint")
    in_training(head)
    expected = head.eval()(maps())
    close(norm.restore(head)(maps()), expected)


def test_heads_compile_without_a_break_and_take_lists_only() -> None:
    # In a process of its own: the shape checks of the tests cannot be compiled, and refuse tensors before we do.
    code = """
import copy, torch
from torch import nn
from elinvar.check import InputError
from elinvar.norm.heads import SharedHead

inputs = [torch.randn(3, 4, size, size) for size in (6, 3, 2)]
for sharing in ("joint", "separate"):
    head = SharedHead([nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()], ("a", "b", "c"), sharing=sharing)
    eager = copy.deepcopy(head)
    compiled = torch.compile(head, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(inputs), eager(inputs))
    torch.testing.assert_close(head.state_dict(), eager.state_dict())
    try:
        eager(inputs[0])
        raise SystemExit("a tensor was taken for a list")
    except InputError as error:
        assert "got a Tensor" in str(error), error
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
