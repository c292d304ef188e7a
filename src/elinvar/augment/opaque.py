"""Augmentations and programs as one operation of a compiled graph, which runs them as they would run outside.

Programs are drawn and sorted on the host, so there is little for a compiler to fuse; what a graph needs to know is the
type and size of the result. So pixels are those of the same call outside of the graph, for the same keys.
"""

import torch
from torch import Tensor
from torch.compiler import assume_constant_result

from ..rng import streams
from .backend import Backend, apply
from .base import Augmentation
from .program import Program

# Augmentations by the name that stands for them in a graph.
_named: dict[str, Augmentation] = {}


def _whole(augmentation: Augmentation) -> bool:
    """Whether it has its settings: while a compiler traces the code that makes one, there is only a shell of it."""
    settings = vars(augmentation)
    return all(name in settings for name in getattr(augmentation, "__dataclass_fields__", ())) and all(
        _whole(part) for part in settings.values() if isinstance(part, Augmentation)
    )


@assume_constant_result  # type: ignore[untyped-decorator]
def _name(augmentation: Augmentation) -> str:
    if not _whole(augmentation):
        return ""
    name = repr(augmentation)
    if _named.setdefault(name, augmentation) != augmentation:
        name += f" #{len(_named)}"
        _named[name] = augmentation
    return name


@assume_constant_result  # type: ignore[untyped-decorator]
def result(augmentation: Augmentation, dtype: torch.dtype) -> tuple[torch.dtype, tuple[int, int] | None]:
    """In what type images of a type come out, and in what height and width if not in their own."""
    size = (17, 19)  # nobody's
    made = augmentation.transform(torch.empty(0, 3, *size, dtype=dtype), torch.empty(0, dtype=torch.int64))
    height, width = made.shape[2:]
    return made.dtype, None if (height, width) == size else (height, width)


def call(augmentation: Augmentation, images: Tensor, keys: Tensor | None) -> Tensor:
    """The call of `augmentation` in code that is being compiled."""
    name = _name(augmentation)
    if not name:
        torch._dynamo.graph_break("an augmentation that is made inside of compiled code; make it outside")
        name = _name(augmentation)
    dtype, size = result(augmentation, images.dtype)
    height, width = images.shape[-2:] if size is None else size
    seed = torch.randint(2**62, ()) if keys is None else None
    made: Tensor = _augment(images.detach(), keys, seed, name, dtype, height, width)
    return made


@torch.library.custom_op(
    "elinvar::augment",
    mutates_args=(),
    schema="(Tensor images, Tensor? keys, Tensor? seed, str name, ScalarType dtype, SymInt height, SymInt width)"
    " -> Tensor",
)
def _augment(
    images: Tensor, keys: Tensor | None, seed: Tensor | None, name: str, dtype: torch.dtype, height: int, width: int
) -> Tensor:
    if seed is not None:
        count = len(images) if images.ndim == 4 else 1
        keys = streams(int(seed.item()), torch.arange(count)).view(images.shape[:-3])
    made: Tensor = _named[name](images, keys=keys)
    own = made.untyped_storage().data_ptr() != images.untyped_storage().data_ptr()
    return made if own else made.clone()  # what an operation of a graph returns is no view of what it got


@_augment.register_fake
def _(
    images: Tensor, keys: Tensor | None, seed: Tensor | None, name: str, dtype: torch.dtype, height: int, width: int
) -> Tensor:
    return images.new_empty((*images.shape[:-2], height, width), dtype=dtype)


def run(images: Tensor, program: Program, backend: Backend | None) -> Tensor:
    """`apply` in code that is being compiled."""
    made: Tensor = _run(images.detach(), program.ops, program.args, program.weights, list(program.fill), backend)
    return made


@torch.library.custom_op(
    "elinvar::run",
    mutates_args=(),
    schema="(Tensor images, Tensor ops, Tensor args, Tensor? weights, int[] fill, str? backend) -> Tensor",
)
def _run(
    images: Tensor, ops: Tensor, args: Tensor, weights: Tensor | None, fill: list[int], backend: str | None
) -> Tensor:
    return apply(images, Program(ops, args, weights, tuple(fill)), backend=backend)  # type: ignore[arg-type]


@_run.register_fake
def _(
    images: Tensor, ops: Tensor, args: Tensor, weights: Tensor | None, fill: list[int], backend: str | None
) -> Tensor:
    return images.new_empty(images.shape, dtype=images.dtype if weights is None else torch.float32)
