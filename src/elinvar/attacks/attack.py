"""An attack is a value: a threat's geometry, times an estimator of gradients, times a rule of moves."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..check import InputError
from ..outputs import warning_once
from ..rng import fresh_key, streams
from .estimator import Autograd, Estimator
from .goal import Goal
from .inputs import check_images, check_keys, check_targets
from .losses import Loss, named
from .rules import Rule
from .search import Search
from .still import Mode, still
from .threat import Bounds, Threat
from .units import check_lengths, check_units


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Searches near each image for one that the model gets wrong.

        x_0 = P(x + d),   x_{t+1} = P(x_t + move(gradient at x_t)),   P the projection of `threat` and `bounds`

    threat         `Linf(eps)`, `L2(eps)` or a subclass of `Threat` of your own
    steps          gradients that are followed, at least 0; the last point is returned
    rule           `Steepest(step=...)` or `Adam(step=...)`
    estimator      `Autograd()` or `Spsa(...)`
    loss           what is raised for each example: "cross_entropy", "margin", or a function of logits (N, K) and
                   targets to (N,)
    random_start   d uniform in the ball of the threat, else d = 0
    restarts       searches for each example; the one that fools the model, or whose loss is highest, counts. Costs one
                   more forward for each
    targeted       targets are the classes to reach: the loss is lowered
    early_stop     examples that fool the model, at first as they are, are left as they are; only the others cost
                   more. For evaluation
    bounds         lowest and highest value of an image

    An attack is called with a model, images and targets: see `__call__`, or the functions `fgsm`, `pgd` and `spsa`.

    Raises `InputError` for counts below 1 (steps: 0), bounds in the wrong order, restarts of an attack that draws
    nothing, and sizes in another unit than the images (eps, step or delta beyond the bounds: 8 for 8/255). Warns of an
    eps that turns every image into grey.

    >>> from elinvar.attacks import L2, Steepest
    >>> Attack(threat=L2(0.5), steps=10, rule=Steepest(step=0.125)).random_start
    True
    """

    threat: Threat
    steps: int
    rule: Rule
    estimator: Estimator = field(default_factory=Autograd)
    loss: str | Loss = "cross_entropy"
    random_start: bool = True
    restarts: int = 1
    targeted: bool = False
    early_stop: bool = False
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        named(self.loss)
        if self.steps < 0 or self.restarts < 1:
            raise InputError(
                f"got {self.steps} steps and {self.restarts} restarts, expected at least 0 steps and 1 restart"
            )
        if not self.bounds[0] < self.bounds[1]:
            raise InputError(f"bounds: got {self.bounds}, expected the lowest value of an image, then the highest")
        if self.restarts > 1 and not (self.random_start or self.estimator.draws):
            raise InputError(f"{self.restarts} restarts from the same point give one result; set random_start=True")
        check_units(self.threat, self.rule, self.estimator, self.bounds)

    def __call__(
        self,
        model: nn.Module,
        images: Shaped[Tensor, "n c h w"],
        targets: Shaped[Tensor, "n *classes"],
        *,
        keys: Shaped[Tensor, " n"] | None = None,
        mode: Mode = "eval",
        branch: str = "main",
        forward: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Adversarial images, without a graph.

        model     images in `bounds` to logits (N, K). It standardizes them itself, so that eps has the unit of a pixel
        images    (N, C, H, W), floating point in `bounds`. Those in half precision are attacked, and come back, in
                  float32: their own steps are too coarse for an eps
        targets   (N,) int64 class numbers, or (N, K) soft targets: the true ones, or those to reach if `targeted`
        keys      (N,) streams of `elinvar.rng.streams`, one for each example; None: fresh ones, fixed by
                  `torch.manual_seed`. Calls that shall draw differently take different keys
        mode      how the model is normalized meanwhile: by its memory ("eval"), or by the statistics of this batch,
                  which nothing remembers ("batch": an attack in training on the model as it trains). See `still`
        branch    of a model with several, which to attack
        forward   how to call the model, if not by `model(images)`: in another precision, say. `model` is what is kept

        Results are in the ball of eps around the images and in the bounds, both exactly, rounding included.
        Everything is drawn for each example. In mode "eval", with a model that looks at each image by itself, the
        result for an example depends on its pixels, target and key alone, however batches are cut.
        The model is afterwards what it was, also after an error; gradients may be off around this call.

        Raises `InputError` for images that are not floating point or leave the bounds (uint8 among them), for shapes
        that do not fit, logits that are not (N, K) or have no gradient, and early stops in mode "batch", where who
        leaves would change the statistics of those who stay. Warns of a model that returns probabilities.
        """
        check_images(images, self.bounds)
        check_lengths(self.threat, self.rule, self.bounds, images[0].numel() if len(images) else 1)
        check_targets(targets, len(images))
        check_keys(keys, len(images))
        if self.early_stop and mode == "batch":
            raise InputError("early_stop: examples that leave would change the batch statistics; use mode='eval'")
        with still(model, mode, branch):
            if not len(images):
                return images.detach().clone()
            streams_ = streams(fresh_key(), torch.arange(len(images))) if keys is None else keys
            says = warning_once(forward or _callable(model))
            goal = Goal(says, _plain(targets).to(images.device), named(self.loss), self.targeted)
            return self._search()(goal, _attackable(images), streams_.to(images.device))

    def _search(self) -> Search:
        return Search(
            threat=self.threat,
            estimator=self.estimator,
            rule=self.rule,
            steps=self.steps,
            bounds=self.bounds,
            random_start=self.random_start,
            restarts=self.restarts,
            stop=self.early_stop,
        )


def _callable(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The model itself: a wrapper that waits for all workers in each forward hangs where early stops differ."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def _plain(tensor: Tensor) -> Tensor:
    """Without a graph, and as autograd may save it: a copy of what was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _attackable(images: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return _plain(images).to(torch.promote_types(images.dtype, torch.float32))
