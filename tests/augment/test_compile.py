"""Inside compiled code: one graph, the same pixels.

All of it runs in one process of its own: a compiler cannot look through the tests' checker of shapes.
"""

import json
import subprocess
import sys
import textwrap

import pytest

SET_UP = """
import json, traceback
import torch
from torch import nn
from elinvar.augment import *
from elinvar.augment.batched import histogram, local, region, table, warp
from elinvar.augment.opaque import result
from elinvar.rng import streams

torch.set_num_threads(1)
images = torch.randint(0, 256, (6, 3, 20, 24), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
floats = images.float() / 255
keys = streams(0, torch.arange(6))
found = {}
"""

CLAIMS = {
    "a call is one graph with the same pixels": """
        for augmentation in (AugMix(), AugMix(alpha=0.5), RandAugment(), AutoAugment("svhn"), GaussianNoise(0.1),
                             Flip(), Compose([PadCrop(), Cutout(8)]), Compose([]), RandomResizedCrop(16)):
            torch._dynamo.reset()
            whole = torch.compile(lambda x, k: augmentation(x, keys=k), fullgraph=True, backend="aot_eager")
            for given in (images, floats.half()):
                made, expected = whole(given, keys), augmentation(given, keys=keys)
                assert made.equal(expected) and made.dtype == expected.dtype, augmentation
            assert whole(images[0], keys[0]).equal(augmentation(images[0], keys=keys[0]))
            size = (16, 16) if isinstance(augmentation, RandomResizedCrop) else None
            assert result(augmentation, torch.uint8) == (augmentation(images).dtype, size)
    """,
    # Also for two equal calls in one graph, which a compiler would compute once if it could see no difference.
    "inductor keeps the pixels and draws anew": """
        augmentation = Compose([Flip(), PadCrop(), AugMix()])
        model = nn.Sequential(augmentation.module(), nn.Conv2d(3, 4, 3))
        whole = torch.compile(model, fullgraph=True)
        whole(images).sum().backward()
        assert model[1].weight.grad.abs().sum() > 0
        twice = torch.compile(lambda x: (augmentation(x), augmentation(x)), fullgraph=True)
        torch.manual_seed(1)
        one, two = twice(images)
        assert not one.equal(two)
        torch.manual_seed(1)
        again = twice(images)
        assert again[0].equal(one) and again[1].equal(two)
        assert not twice(images)[0].equal(one)
        model.eval()
        torch.testing.assert_close(whole(images), model(images))
        exact = torch.compile(lambda x, k: augmentation(x, keys=k), fullgraph=True, dynamic=True)
        for size in (4, 5, 6):
            for given in (images[:size], images[:size, :, :, :7 + size]):
                assert exact(given, keys[:size]).equal(augmentation(given, keys=keys[:size]))
    """,
    "a graph follows the settings": """
        layer = Flip(1.0).module()
        whole = torch.compile(layer, fullgraph=True, backend="eager")
        assert whole(images).equal(images.flip(-1))
        layer.augmentation = Flip(0.0)
        assert whole(images).equal(images)
        layer.augmentation = Compose([Flip(1.0), Flip(1.0, vertical=True)])
        assert whole(images).equal(images.flip(-1, -2))
        assert whole.eval()(images).equal(images)
    """,
    # A compiler shows its tracer a shell with default settings.
    "an augmentation made inside breaks the graph and keeps its settings": """
        made_inside = torch.compile(lambda x, p: Flip(p)(x), backend="eager")
        for p in (0.0, 1.0, 0.0, 1.0):
            assert made_inside(images, p).equal(images.flip(-1) if p else images)
        assert torch.compile(lambda x: Flip(1.0)(x), backend="eager")(images).equal(images.flip(-1))
        try:
            torch.compile(lambda x: Flip(1.0)(x), backend="eager", fullgraph=True)(images)
        except torch._dynamo.exc.Unsupported as error:
            assert "make it outside" in str(error)
        else:
            raise AssertionError("no error")
    """,
    "programs run in one graph with either back end": """
        for policy in (AugMix(), RandAugment()):
            program = policy.draw(keys, height=20, width=24)
            for backend in ("compiled", "batched", None):
                torch._dynamo.reset()
                whole = torch.compile(lambda x, p: apply(x, p, backend=backend), fullgraph=True, backend="aot_eager")
                for given in (images, floats):
                    assert whole(given, program).equal(apply(given, program, backend=backend))
    """,
    # For those who fuse them: what stands between the kernels, grouping rows by operation, stays on the host.
    "each tensor kernel is one graph": """
        def check(function, *given):
            whole = torch.compile(function, fullgraph=True, backend="aot_eager")
            assert whole(*given).equal(function(*given)), function

        first = torch.tensor([0.0, 0.3, 1.2, 4.0, 90.0, 250.0])
        for make in table.TABLES.values():
            check(make, first)
        for make in histogram.TABLES.values():
            check(make, images, first)
        check(table.look_up, images, table.solarize(first).unsqueeze(1))
        for make in warp.MATRICES.values():
            check(make, first.double(), 20, 24)
        check(warp.warp, images, warp.rotate(first.double(), 20, 24), torch.zeros(3, dtype=torch.uint8))
        for change in local.CHANGES.values():
            check(change, images, first)
        rectangle = torch.tensor([[4.0, 5.0, 2.0, 3.0, 9.0, 8.0, 7.0]]).expand(6, -1)
        for name, change in region.CHANGES.items():
            check(change, images, rectangle[:, :len(OPS[name].parameters)].contiguous())
    """,
}


def _script() -> str:
    parts = [SET_UP]
    for name, code in CLAIMS.items():
        body = textwrap.indent(textwrap.dedent(code), "    ")
        parts.append(f"try:{body}\n    found[{name!r}] = ''\nexcept Exception:\n")
        parts.append(f"    found[{name!r}] = traceback.format_exc()\ntorch._dynamo.reset()\n")
    return "".join([*parts, "print(json.dumps(found))\n"])


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", _script()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("claim", CLAIMS)
def test_compiled(claim: str, found: dict[str, str]) -> None:
    assert not found[claim], found[claim]
