"""What a model returned, as logits: one rule for every place where a model is called, and one for rows without a class.

    a tensor (N, K)            logits
    an object with `.logits`   that tensor, as transformers returns it, if no other field could be the prediction
    anything else              `InputError`: tuples, lists, dictionaries, other shapes, integers, None

A tuple is refused even if its first item is meant: the other items are auxiliary heads, which would go untrained.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .check import InputError, warn

SUMS = 1e-3  # how far a row of probabilities may be from a sum of 1
SUMS_OF_HALF = 2e-2  # in half precision, which float32 rows may come from
MANY = 8  # rows that leave no doubt even so
WAY_OUT = (
    "switch auxiliary heads off (--option aux_logits=false; for train --set model.options.aux_logits=false), or wrap "
    "the model so that it returns one tensor"
)


def one_tensor(output: object, expected: str = "logits (N, K)") -> Tensor:
    """The tensor that a model returned, itself or as the field `logits` of an object.

    Raises `InputError` that says what came instead, tuples and dictionaries among it.
    """
    if isinstance(output, Tensor):
        return output
    logits = None if isinstance(output, tuple | list) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor):
        raise InputError(f"the model returned {_came(output)}, expected {expected}: {WAY_OUT}")
    rivals = [name for name, value in _fields(output).items() if name != "logits" and _alike(value, logits)]
    if rivals:
        raise InputError(
            f"the model returned {_came(output)}, of which {' and '.join(['logits', *rivals])} may be its prediction, "
            f"expected one tensor of {expected}: {WAY_OUT}"
        )
    return logits


def logits_of(output: object, rows: int) -> Float[Tensor, "n classes"]:
    """The logits of `rows` images; raises `InputError` for an output of another kind, shape or dtype."""
    logits = one_tensor(output, f"logits ({rows}, K)")
    if logits.ndim != 2 or len(logits) != rows or not logits.shape[1] or not logits.is_floating_point():
        raise InputError(
            f"the model returned a tensor of shape {tuple(logits.shape)} ({logits.dtype}) for {rows} images, expected "
            f"logits ({rows}, K) in floating point"
        )
    return logits


def _came(output: object) -> str:
    if isinstance(output, tuple | list):
        kind = "list" if isinstance(output, list) else "tuple"
        shapes = [f"{tuple(item.shape)}" if isinstance(item, Tensor) else type(item).__name__ for item in output]
        return f"a {kind} of {len(shapes)} ({', '.join(shapes)})"
    if named := _fields(output):
        kind = "dictionary" if type(output) is dict else type(output).__name__
        return f"a {kind} with {', '.join(map(str, named))}"
    return "nothing (None)" if output is None else f"a {type(output).__name__}"


def _fields(output: object) -> dict[Any, object]:
    """What an output consists of, by name."""
    if isinstance(output, Mapping):
        return dict(output)
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    return dict(getattr(output, "__dict__", {}))


def _alike(value: object, logits: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == logits.shape and value.is_floating_point()


def undecided(scores: Float[Tensor, "*rows classes"]) -> Bool[Tensor, "*rows"]:
    """Which rows of scores name no class and have no softmax: their largest entry is NaN or infinite.

    So a row with NaN or +inf in it, and a row of -inf alone. They count as misclassified, whatever is asked.
    Single entries of -inf, which mask classes, decide nothing away.

    >>> undecided(torch.tensor([[0.0, torch.nan], [torch.inf, 0.0], [-torch.inf, 0.0]]))
    tensor([ True,  True, False])
    """
    return ~scores.detach().amax(-1).isfinite()


def wrong(scores: Float[Tensor, "n classes"], targets: Tensor) -> Bool[Tensor, " n"]:
    """Which rows are misclassified: the first of the largest scores is not at the target, or they are `undecided`."""
    largest, decided = scores.detach().max(1)
    return (decided != targets.to(scores.device)) | ~largest.isfinite()


def probabilities_sure(rows: Float[Tensor, "*n classes"]) -> bool:
    """Whether these are certainly probabilities: two rows or more, none negative, each with a sum of 1.

    Logits that lie in [0, 1] are not: their sums differ from 1. Waits for the device of `rows`.
    """
    if rows.ndim < 2 or rows.shape[-1] < 2 or rows.numel() < 2 * rows.shape[-1] or not rows.is_floating_point():
        return False
    values = rows.detach()
    sums = values.sum(-1, dtype=torch.promote_types(values.dtype, torch.float32))
    many = sums.numel() >= MANY
    tolerance = SUMS_OF_HALF if many or values.dtype.itemsize < 4 else SUMS
    return bool((((sums - 1).abs() <= tolerance) & (values >= 0).all(-1)).all())


def warn_of_probabilities(logits: Float[Tensor, "*n classes"], what: str = "logits") -> None:
    """Warn if `logits` are certainly probabilities: a softmax of them is another, nearly uniform prediction."""
    batched = torch._C._functorch.is_batchedtensor(logits)  # values under vmap cannot be looked at
    if not torch.compiler.is_compiling() and not batched and probabilities_sure(logits):
        warn(
            f"{what}: got probabilities (rows of at least 0 that sum to 1), expected logits, whose softmax is taken; "
            "give what comes before the softmax, or the logarithm of the probabilities"
        )


def warn_on_cpu(logits: Float[Tensor, "*n classes"], what: str = "logits") -> None:
    """`warn_of_probabilities` where that does not wait for a device: what losses of every step can afford."""
    if logits.device.type == "cpu":
        warn_of_probabilities(logits, what)


def warning_once(forward: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """`forward`, which warns if what it returns first are probabilities."""
    looked = False

    def run(images: Tensor) -> Any:
        nonlocal looked
        output = forward(images)
        if not looked:
            looked = True
            warn_of_probabilities(one_tensor(output), "the model's outputs")
        return output

    return run
