"""A normalization policy: four independent answers to "which batch?", and the pairs that make no sense.

    sharing    who shares statistics in training
    memory     what is remembered of them (one bank for each branch)
    inference  what normalizes at test time
    affine     which gamma and beta follow

Source   the four axes are those of Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..check import InputError
from .affine import Affine
from .inference import Inference, OwnBatch, Remembered
from .memory import Ema, Memory, Nothing
from .sharing import PerBranch, PerView, Sharing, WholeBatch


@dataclass(frozen=True, kw_only=True)
class NormPolicy:
    """How every normalization layer of a model behaves. The default is `nn.BatchNorm2d`, bit for bit.

    branches  names of the memory banks; the first keeps the plain `nn.BatchNorm2d` keys in a checkpoint
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


def batch_norm(*, momentum: float | None = None) -> NormPolicy:
    """Plain BatchNorm; views of one step are normalized jointly (Ioffe and Szegedy 2015; AugMix, `cifar.py`)."""
    return NormPolicy(memory=Ema(momentum))


def per_view(*, momentum: float | None = None) -> NormPolicy:
    """Each view of a step by its own statistics, one memory for all of them."""
    return NormPolicy(sharing=PerView(), memory=Ema(momentum))


def split(
    branches: Sequence[str] = ("main", "aux"), affine: Affine | str = Affine.SEPARATE, *, momentum: float | None = None
) -> NormPolicy:
    """One BatchNorm for each branch (Merchant et al. 2020, Algorithm 1); `affine="shared"` is their Table 3, row 6."""
    return NormPolicy(sharing=PerBranch(), memory=Ema(momentum), affine=Affine(affine), branches=tuple(branches))


def no_memory() -> NormPolicy:
    """Statistics of the batch at hand in training and at test: `nn.BatchNorm2d(track_running_stats=False)`."""
    return NormPolicy(memory=Nothing(), inference=OwnBatch())
