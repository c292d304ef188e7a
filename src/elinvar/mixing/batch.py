"""Mix the examples of a batch: pairs, a method for each, one blend, soft targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float32, Float64, Int64, Shaped
from torch import Tensor

from ..check import InputError
from ..rng import uniform
from .backend import Backend, blend_parts
from .base import FIRST, Method, Mixing
from .center import zero_mean
from .concat import BCPlus, VHBCPlus
from .linear import Unmixed
from .pairing import Pairing, check_pairing, partners
from .table import method as named
from .targets import check_targets, mix_targets
from .watch import check_mixable

if TYPE_CHECKING:
    from .module import Module

Stream = tuple[Tensor, Tensor]
LOWEST, HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Choice(Mixing):
    """One of several methods for each example.

    methods   methods, or names of them
    weights   how probable each is, in any unit; None: all alike

    >>> Choice(("mixup", "cutmix"), (1, 3))
    Choice(methods=(Mixup(alpha=1.0), CutMix(alpha=1.0)), weights=(0.25, 0.75))
    """

    methods: tuple[Method | str, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.methods)
        weights = (1.0,) * count if self.weights is None else self.weights
        if not count or len(weights) != count or not all(weight >= 0 for weight in weights) or not sum(weights) > 0:
            raise InputError(f"choice: got weights {weights} for {count} methods, expected one of at least 0 for each")
        object.__setattr__(self, "methods", tuple(named(m) if isinstance(m, str) else m for m in self.methods))
        object.__setattr__(self, "weights", tuple(weight / sum(weights) for weight in weights))

    def options(self) -> tuple[tuple[Method, float], ...]:
        methods = tuple(one for one in self.methods if isinstance(one, Method))  # names became methods
        return tuple(zip(methods, self.weights or (), strict=True))


@dataclass(frozen=True)
class Mix:
    """Mixed examples from a batch, for training loops and `DataLoader` workers.

    method        a method, the name of one in `METHODS`, or a `Choice`
    classes       number of classes, for targets that are class numbers
    probability   of an example being mixed at all, in [0, 1]
    pairing       who is mixed with whom: `Pairing`
    backend       as in `blend`

    >>> mix = Mix("cutmix", classes=10)
    >>> images, targets = mix(torch.rand(8, 3, 32, 32), torch.arange(8))
    >>> images.shape, targets.shape
    (torch.Size([8, 3, 32, 32]), torch.Size([8, 10]))
    """

    method: Mixing | str
    classes: int | None = None
    probability: float = 1.0
    pairing: Pairing = "permutation"
    backend: Backend | None = None

    def __post_init__(self) -> None:
        if isinstance(self.method, str):
            object.__setattr__(self, "method", named(self.method))
        if not 0.0 <= self.probability <= 1.0:
            raise InputError(f"probability: got {self.probability}, expected a number in [0, 1]")
        check_pairing(self.pairing)

    def __call__(
        self,
        images: Shaped[Tensor, "n c h w"],
        targets: Shaped[Tensor, "n *classes"],
        *,
        keys: Int64[Tensor, " n"] | None = None,
        partner: Stream | None = None,
    ) -> tuple[Shaped[Tensor, "m c h w"], Float32[Tensor, "m classes"]]:
        """Mixed images and their soft targets, whose rows sum to 1. Arguments and errors as for `mix`."""
        self._check(images, targets, keys, partner)
        images = _plain(images)
        second, others = (images, targets) if partner is None else (_plain(partner[0]), partner[1])
        device = images.device
        if not len(images):
            return images, mix_targets(targets, others, torch.ones(0, device=device), self.classes)
        # Drawn on the host whatever the device: the same bits everywhere. Graphs that are compiled stay on theirs.
        home = device if torch.compiler.is_compiling() else torch.device("cpu")
        keys = torch.randint(LOWEST, HIGHEST, (len(images),), device=home) if keys is None else keys.to(home)
        methods, weights = zip(*self.options(), strict=True)
        if len(methods) > 1 and any(isinstance(one, BCPlus | VHBCPlus) and one.center for one in methods):
            # All images of a batch have zero mean, or none: also those that are mixed otherwise, or not at all.
            images, second = zero_mean(images), zero_mean(second)
        u = _uniform(keys, FIRST + max(one.draws for one in methods))
        rows = partners(self.pairing, u[:, :2]) if partner is None else torch.arange(len(images), device=home)
        count = len(rows)
        size = (images.shape[1], images.shape[2], images.shape[3])
        drawn = [one.draw(u[:count, FIRST : FIRST + one.draws], keys[:count], size) for one in methods]
        chosen = [which if which is None else which.to(device) for which in _choose(u[:count, 2], weights)]
        rows, parts = rows.to(device), [(which, plan.map) for which, plan in zip(chosen, drawn, strict=True)]
        mixed, means = blend_parts(images[:count], second, parts, partner=rows, backend=self.backend)
        weight = torch.ones(count, device=device)
        for which, plan, mean in zip(chosen, drawn, means, strict=True):
            label = plan.label if plan.label is not None else plan.map.mean(size) if mean is None else mean
            weight = label.to(device) if which is None else torch.where(which, label.to(device), weight)
        return mixed, mix_targets(targets[:count], others[rows], weight, self.classes)

    def module(self) -> "Module":
        """A layer that mixes while its model trains; while it is judged, images pass and targets only become soft.

        >>> layer = Mix("mixup", classes=10).module().eval()
        >>> layer(torch.zeros(1, 3, 8, 8), torch.tensor([3]))[1]
        tensor([[0., 0., 0., 1., 0., 0., 0., 0., 0., 0.]])
        """
        from .module import Module

        return Module(self)

    def _check(self, images: Any, targets: Any, keys: Any, partner: Any) -> None:
        check_mixable(images)
        check_targets(targets, self.classes, len(images))
        if keys is not None and (keys.dtype != torch.int64 or keys.shape != (len(images),)):
            raise InputError(
                f"keys: got {keys.dtype} of shape {tuple(keys.shape)} for {len(images)} images, "
                "expected one int64 stream for each, as elinvar.rng.streams gives"
            )
        if partner is not None:
            self._check_partner(images, targets, partner)

    def options(self) -> tuple[tuple[Method, float], ...]:
        """What each example chooses among, with probabilities: not to be mixed is a choice like others."""
        assert isinstance(self.method, Mixing)  # a name became a method when this was made
        found = self.method.options()
        if self.probability == 1.0:
            return found
        return (*((one, weight * self.probability) for one, weight in found), (Unmixed(), 1 - self.probability))

    def _check_partner(self, images: Tensor, targets: Tensor, partner: Any) -> None:
        if self.pairing == "disjoint":
            raise InputError("partner: disjoint pairs are made inside one batch; leave pairing at 'permutation'")
        second, others = partner
        check_mixable(second, name="partner images")
        check_targets(others, self.classes, len(second), name="partner targets")
        if second.shape != images.shape or second.dtype != images.dtype or second.device != images.device:
            raise InputError(
                f"partner: got {second.dtype} images of shape {tuple(second.shape)} on {second.device}, "
                f"expected {images.dtype} of shape {tuple(images.shape)} on {images.device}"
            )
        if others.ndim == targets.ndim == 2 and others.shape != targets.shape:
            raise InputError(f"partner: got targets of shape {tuple(others.shape)}, expected {tuple(targets.shape)}")


def _plain(images: Shaped[Tensor, "n c h w"]) -> Shaped[Tensor, "n c h w"]:
    """torchvision's own types as the tensors that they are."""
    return images if type(images) is Tensor else images.as_subclass(Tensor)


def _uniform(keys: Int64[Tensor, " n"], count: int) -> Float64[Tensor, "n {count}"]:
    if torch.compiler.is_compiling():
        return uniform(keys, count)
    from .compiled.draws import uniform as uniform_compiled

    return uniform_compiled(keys, count)


def _choose(u: Float64[Tensor, " n"], weights: Sequence[float]) -> list[Bool[Tensor, " n"] | None]:
    """Which examples take each method; None: all of them."""
    if len(weights) == 1:
        return [None]
    chosen: list[Bool[Tensor, " n"] | None] = []
    low = 0.0
    for place, weight in enumerate(weights):
        last = place == len(weights) - 1
        chosen.append((u >= low) if last else (u >= low) & (u < low + weight))
        low += weight
    return chosen


def mix(
    name: Mixing | str,
    images: Shaped[Tensor, "n c h w"],
    targets: Shaped[Tensor, "n *classes"],
    *,
    classes: int | None = None,
    keys: Int64[Tensor, " n"] | None = None,
    alpha: float = 1.0,
    pairing: Pairing = "permutation",
    partner: Stream | None = None,
) -> tuple[Shaped[Tensor, "m c h w"], Float32[Tensor, "m classes"]]:
    """Mix each image with another one: the mixed images, and soft targets.

    name      of a method in `METHODS`; or a method with settings, or a `Choice` among some
    images    (N, C, H, W), uint8, or finite floating point in any range: mix after crops, flips and standardization
    targets   (N,) int64 class numbers, or (N, classes) soft targets whose rows sum to 1
    classes   number of classes; needed with class numbers
    keys      (N,) streams of `elinvar.rng.streams`, one for each example; None: fresh ones, fixed by
              `torch.manual_seed`. Calls that shall draw differently take different keys
    alpha     above 0, of lambda ~ Beta(alpha, alpha), for methods given by name that draw one
    pairing   inside the batch, "permutation", "derangement" or "disjoint" (N images give N / 2): `partners`
    partner   (images, targets) of another stream instead, of the same sizes: row i is mixed with its row i

    Everything is drawn for each example. With a partner, the result for an example depends on its pixels, its partner's
    and its key alone, however batches are cut. Pairs inside a batch depend on who is in it, but not on the order.

    Images come out as they came, in type and scale, so that a choice of methods makes no difference to what follows:
    averages of uint8 are rounded to the nearest level. Zero-mean images (bcplus, vh_bcplus) are floating point; uint8
    is divided by 255 for them. Gradients flow to floating point images.

    Raises `InputError` for anything else; values (not finite, class numbers out of range) are looked at on a CPU only.

    >>> images, targets = mix("mixup", torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]), classes=4, alpha=0.2)
    >>> images.shape, targets.sum(1)
    (torch.Size([4, 3, 32, 32]), tensor([1., 1., 1., 1.]))
    """
    chosen = named(name, alpha=alpha) if isinstance(name, str) else name
    return Mix(chosen, classes=classes, pairing=pairing)(images, targets, keys=keys, partner=partner)
