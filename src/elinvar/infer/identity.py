"""What predictions depend on besides the images: the model's weights, structure, settings and code, and the arithmetic.

Not everything shows: a model may read a file, a global, a clock. So a few images are predicted anew at each evaluation,
and what is kept counts only while their logits are what they were (`same_logits`).
"""

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..data import Split, stratified_order
from ..precision import Compute
from ..recipe import Infer
from ..rng import fold
from .predict import Predictor

FEW = 32
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""Of the largest logit: rounding, which another processor or number of threads does in another order, stays below."""


def model_identity(model: nn.Module, infer: Infer, compute: Compute, settings: Iterable[str] = ()) -> str:
    """SHA-256 of everything that can be read off: structure, code, weights, buffers, branch, arithmetic; `settings`."""
    digest = sha256(f"{model!r}\n{infer!r}\n{compute!r}\n".encode())
    for line in chain(settings, _code(model)):
        digest.update(f"{line}\n".encode())
    state = {**dict(model.named_buffers()), **model.state_dict()}  # buffers that no state dict holds count too
    for name, value in sorted(state.items()):
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def settings(model: nn.Module) -> Iterator[str]:
    """Plain attributes of modules, which no state dict holds: `self.scale = 2.0`.

    Those of elinvar's own are left out: they follow from what is shown, or are set by a forward.
    """
    for name, module in model.named_modules():
        if type(module).__module__.startswith("elinvar."):
            continue
        for key, value in sorted(vars(module).items()):
            if not key.startswith("_") and key != "training" and _plain(value):
                yield f"{name}.{key} = {value!r}"


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | complex | str)


def _code(model: nn.Module) -> Iterator[str]:
    """The source of elinvar and of the files that define the model's classes; torch's own is known by its version."""
    yield f"torch {torch.__version__}"
    yield own_code()
    for home in sorted({type(module).__module__ for module in model.modules()}):
        if home.partition(".")[0] not in ("torch", "elinvar"):
            file = getattr(sys.modules.get(home), "__file__", None)
            yield f"{home} {_sum(Path(file)) if file and Path(file).is_file() else 'unknown'}"


@cache
def own_code() -> str:
    """SHA-256 of elinvar's source, once a process: a version number says too little about a checkout."""
    root = Path(__file__).parents[1]
    files = sorted(path for path in root.rglob("*.py"))
    return sha256("\n".join(f"{path.relative_to(root)} {_sum(path)}" for path in files).encode()).hexdigest()


def _sum(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def few_logits(predictor: Predictor, split: Split) -> Float[Tensor, "few classes"]:
    """Logits of a few images of every kind of class, in one batch."""
    places = stratified_order(split.targets, fold("predicted anew"))[:FEW]
    return predictor.batches(split.batches(places, FEW, device=predictor.compute.device))[0]


def same_logits(kept: Tensor, anew: Tensor, dtype: torch.dtype) -> bool:
    """Whether two predictions of the same images differ by no more than rounding."""
    if kept.shape != anew.shape or kept.dtype != anew.dtype:
        return False
    finite = anew.isfinite()
    if not torch.equal(finite, kept.isfinite()):
        return False
    largest = float(anew[finite].abs().max()) if finite.any() else 0.0
    allowed = TOLERANCE.get(dtype, TOLERANCE[torch.float32]) * largest
    return bool(((kept - anew).abs()[finite] <= allowed).all())
