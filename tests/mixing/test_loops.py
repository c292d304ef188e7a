"""Mixing where people use it: loaders and their workers, layers, torchvision's pipelines, compiled graphs."""

import pickle
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from elinvar.check import InputError
from elinvar.mixing import Choice, Mix, RandomSquare, collate, mix, zero_mean
from libraries import load

from .conftest import keys, noise

images, targets = noise(40, 3, 16, 16), torch.arange(40) % 10


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("context", [None, "fork"])
def test_loaders_mix_in_their_workers(context: str | None) -> None:
    """The parent has used its threads and compiled code when workers are forked from it."""
    torch.set_num_threads(2)
    mixing = Mix(Choice(("mixup", "random_elements", "cutmix")), classes=10)
    mixing(images, targets)
    loader = DataLoader(
        TensorDataset(images, targets),
        batch_size=16,
        num_workers=2 if context else 0,
        multiprocessing_context=context,
        collate_fn=collate(mixing),
    )

    def epoch(seed: int) -> list[tuple[Tensor, Tensor]]:
        torch.manual_seed(seed)
        return [(made.clone(), soft.clone()) for made, soft in loader]

    first = epoch(3)
    assert [tuple(made.shape) for made, _ in first] == [(16, 3, 16, 16)] * 2 + [(8, 3, 16, 16)]
    assert all(torch.allclose(soft.sum(1), torch.ones(1)) for _, soft in first)
    changed = [float((made != images[16 * n : 16 * n + 16]).double().mean()) for n, (made, _) in enumerate(first)]
    assert min(changed) > 0.3
    again, other = epoch(3), epoch(4)
    assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(first, again, strict=True))
    assert not any(a[0].equal(b[0]) for a, b in zip(first, other, strict=True))


def test_collate_takes_another_base() -> None:
    def base(samples: list[int]) -> tuple[Tensor, Tensor]:
        return images[samples], targets[samples]

    torch.manual_seed(0)
    made, soft = collate(Mix("vh_mixup", classes=10), base)([3, 1, 2])
    torch.manual_seed(0)
    expected = mix("vh_mixup", images[[3, 1, 2]], targets[[3, 1, 2]], classes=10)
    assert made.equal(expected[0])
    assert soft.equal(expected[1])
    assert pickle.loads(pickle.dumps(collate(Mix("mixup", classes=3)))) == collate(Mix("mixup", classes=3))


def test_a_layer_mixes_while_its_model_trains() -> None:
    layer = Mix("cutmix", classes=10).module()
    assert not list(layer.state_dict())
    assert "CutMix" in repr(layer)
    expected = mix("cutmix", images, targets, classes=10, keys=keys(40))
    made = layer(images, targets, keys=keys(40))
    assert made[0].equal(expected[0])
    assert made[1].equal(expected[1])
    passed, soft = layer.eval()(images, targets)
    assert passed is images
    assert soft.equal(torch.nn.functional.one_hot(targets, 10).float())
    with pytest.raises(InputError, match="class numbers span"):
        layer(images, targets + 5)


def test_a_layer_gives_zero_mean_images_when_it_is_judged_if_its_method_does() -> None:
    layer = Mix(Choice(("vh_bcplus", "bcplus")), classes=10, probability=1.0).module().eval()
    assert layer(images, targets)[0].equal(zero_mean(images))


def test_stands_in_a_pipeline_of_torchvision() -> None:
    tv_tensors, v2 = load("torchvision.tv_tensors"), load("torchvision.transforms.v2")
    pipeline = v2.Compose([v2.ToDtype(torch.float32, scale=True), Mix("random_rows", classes=10)])
    whole = tv_tensors.Image(noise(8, 3, 6, 6, dtype=torch.uint8))
    torch.manual_seed(1)
    made, soft = pipeline(whole, targets[:8])
    torch.manual_seed(1)
    expected = mix("random_rows", noise(8, 3, 6, 6, dtype=torch.uint8).float().div(255), targets[:8], classes=10)
    assert torch.allclose(made, expected[0])
    assert soft.equal(expected[1])


COMPILED = """
import torch
from elinvar.mixing import Choice, Mix, Mixup
from elinvar.rng import streams

images, targets, keys = torch.rand(12, 3, 10, 9), torch.arange(12), streams(0, torch.arange(12))
every_map = Mixup(0.3), "mixed_concat", "random_square", "random_pixels", "noisy_mixup", "vh_bcplus"
mix = Mix(Choice(every_map), classes=12)
made = torch.compile(mix, fullgraph=True, backend="aot_eager")(images, targets, keys=keys)
print(max(float((a - b).abs().max()) for a, b in zip(made, mix(images, targets, keys=keys))) < 2e-6)
"""


def test_one_graph_compiles_and_mixes_alike() -> None:
    """In a process of its own: the checker of array shapes would break the graph."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr[-2000:]


def test_importing_is_light() -> None:
    code = "import elinvar.mixing, sys; elinvar.mixing.Mix('vh_mixup', classes=3); "
    code += "print([name for name in ('numba', 'scipy', 'torchvision', 'timm', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_results_outlive_the_next_calls() -> None:
    """Memory of large results is used again only when they are gone."""
    large, labels = torch.rand(8, 3, 128, 128), torch.arange(8)
    kept = [mix(RandomSquare(40), large, labels, classes=8, keys=keys(8, n))[0] for n in range(8)]
    copies = [one.clone() for one in kept]
    for _ in range(8):
        mix("mixup", large, labels, classes=8)
    assert all(one.equal(copy) for one, copy in zip(kept, copies, strict=True))
