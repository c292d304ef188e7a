"""A normalization policy: four independent answers to "which batch?", and the pairs that make no sense.

    sharing    who shares statistics in training
    memory     what is remembered of them (one bank for each branch)
    inference  what normalizes at test time
    affine     which gamma and beta follow

Source   the four axes are those of Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from ..check import InputError
from .affine import Affine
from .inference import Inference, Remembered
from .memory import Ema, Memory, Renorm
from .sharing import Sharing, WholeBatch


@dataclass(frozen=True, kw_only=True)
class NormPolicy:
    """How every normalization layer of a model behaves. The default is `nn.BatchNorm2d` (`Norm`).

    branches  names of the memory banks; the first keeps the plain `nn.BatchNorm2d` keys in a checkpoint

    `a | b` joins what two policies say beyond the default, as in `norm.split() | norm.ghost(16)`.
    Raises `InputError` for pairs without meaning, and for a join of policies that contradict each other.
    """

    sharing: Sharing = field(default_factory=WholeBatch)
    memory: Memory = field(default_factory=Ema)
    inference: Inference = field(default_factory=Remembered)
    affine: Affine = Affine.SHARED
    branches: tuple[str, ...] = ("main",)

    def __post_init__(self) -> None:
        if not self.branches or len(set(self.branches)) != len(self.branches):
            raise InputError(f"branches must be distinct names, at least one; got {self.branches}")
        bad = [name for name in self.branches if not name.isidentifier()]
        if bad:
            raise InputError(f"branch names become checkpoint keys and must be identifiers, got {bad}")
        several = len(self.branches) > 1
        if several and not self.sharing.needs_branches:
            raise InputError(
                f"{type(self.sharing).__name__} pools the rows of all branches and would leave the memory of "
                f"{self.branches[1:]} untrained; use PerBranch sharing, or one branch"
            )
        if self.affine is Affine.SEPARATE and not several:
            raise InputError(f"separate gamma and beta need at least two branches, got {self.branches}")
        if self.inference.needs_memory and not self.memory.remembers:
            raise InputError(
                f"{type(self.inference).__name__} inference reads a memory that {type(self.memory).__name__} never "
                "keeps; use OwnBatch inference, or remember with Ema"
            )
        single = self.sharing.ghosts is not None and self.sharing.ghosts.size == 1
        if isinstance(self.memory, Renorm) and single:
            raise InputError(
                "batch renormalization corrects batch statistics that estimate the memory's; those of single examples "
                "(ghosts of size 1) do not: use larger ghosts, or another memory"
            )

    def __or__(self, other: "NormPolicy") -> "NormPolicy":
        return NormPolicy(
            **{f.name: _joined(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        )


def _join_fields(a: Any, b: Any, prefix: str) -> dict[str, Any]:
    return {f.name: _joined(prefix + f.name, getattr(a, f.name), getattr(b, f.name)) for f in fields(a)}


def _joined(what: str, a: Any, b: Any) -> Any:
    """What two policies say together on one axis: the one that is not the default, or both where they agree."""
    if what == "sharing":
        kind = _joined("kind of sharing", type(a), type(b))
        return kind(
            **{f.name: _joined(f"sharing.{f.name}", getattr(a, f.name), getattr(b, f.name)) for f in fields(kind)}
        )
    default = {"kind of sharing": WholeBatch, "memory": Ema(), "inference": Remembered(), "affine": Affine.SHARED}
    silent = ("main",) if what == "branches" else default.get(what)
    if a == b or b == silent:
        return a
    if a == silent:
        return b
    raise InputError(f"the policies contradict each other on {what}: {_said(a)} and {_said(b)}; keep one of them")


def _said(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else str(value)
