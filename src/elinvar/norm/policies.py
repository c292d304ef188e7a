"""Policies by the names under which people know them; join them with `|`."""

from collections.abc import Sequence
from typing import Any

from ..check import InputError
from .affine import Affine
from .inference import ExampleWeighted, OwnBatch
from .memory import Ema, Nothing
from .partition import Ghosts
from .policy import NormPolicy
from .sharing import PerBranch, PerView, WholeBatch
from .workers import Workers


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


def ghost(size: int, order: str = "strided") -> NormPolicy:
    """Ghost BatchNorm: about `size` examples share statistics (Hoffer et al. 2017; Summers, thesis, section 4.3.2).

    order  "strided": row i goes to ghost i mod k; "blocks": ghosts are runs of neighbours, as in the thesis

    The memory moves once per batch, by the moments of the whole batch, as in the thesis; Hoffer's moves once per ghost.
    """
    return NormPolicy(sharing=WholeBatch(ghosts=Ghosts(size, order)))


def microbatch(size: int, order: str = "blocks") -> NormPolicy:
    """As if the batch had come in micro-batches of `size` examples, the last one shorter, each normalized by itself.

    order  "blocks": micro-batches are runs of neighbours; any other raises `InputError`
    """
    return NormPolicy(sharing=WholeBatch(ghosts=Ghosts(size, order, "short")))


def batch_group(
    groups: int, examples: int | None = None, order: str | None = None, *, alpha: float = 0.0
) -> NormPolicy:
    """Batch-group normalization: `groups` runs of channels, over `examples` examples (None: the whole batch).

    order  which examples, as in `ghost`: "strided" (what None stands for) or "blocks", as in the thesis
    alpha  weight of an example's own statistics at test, as in `example_weighted`

    Raises `InputError` for an order of the whole batch, which is not cut.

    Made for batches of about two. Source   Summers, thesis, section 4.3.4.
    """
    if examples is None and order is not None:
        raise InputError(
            f"order: got {order!r} without `examples`, where the whole batch shares and nothing is cut; give `examples`"
        )
    ghosts = None if examples is None else Ghosts(examples, order or "strided")
    policy = NormPolicy(sharing=WholeBatch(ghosts=ghosts, channel_groups=groups))
    return policy | example_weighted(alpha) if alpha else policy


def group_norm(groups: int, *, alpha: float = 1.0) -> NormPolicy:
    """`nn.GroupNorm(groups)`: each example by itself, in training and at test (Wu and He 2018).

    alpha  weight of the example itself at test; below 1 the layer also remembers training's statistics, and the rest
           goes to them (Summers, thesis, section 4.3.1)
    """
    sharing = WholeBatch(ghosts=Ghosts(1), channel_groups=groups)
    if alpha == 1.0:
        return NormPolicy(sharing=sharing, memory=Nothing(), inference=OwnBatch())
    return NormPolicy(sharing=sharing, inference=ExampleWeighted(alpha))


def instance_norm() -> NormPolicy:
    """`nn.InstanceNorm2d` with gamma and beta: each channel of each example by itself (Ulyanov et al. 2016)."""
    return NormPolicy(sharing=WholeBatch(ghosts=Ghosts(1)), memory=Nothing(), inference=OwnBatch())


def layer_norm() -> NormPolicy:
    """All channels and positions of an example together, gamma and beta by channel: `nn.GroupNorm(1)`."""
    return group_norm(1)


def sync(group: Any = None) -> NormPolicy:
    """Statistics over all processes of a process group (None: the default one): `nn.SyncBatchNorm`, on CPUs as well."""
    return NormPolicy(sharing=WholeBatch(workers=Workers(group)))


def example_weighted(alpha: float) -> NormPolicy:
    """Inference example weighting with weight `alpha`: see `ExampleWeighted`."""
    return NormPolicy(inference=ExampleWeighted(alpha))
