"""FGSM, PGD and SPSA: the settings of `Attack` that go by these names."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from .attack import Attack
from .losses import Loss
from .rules import Adam, Steepest
from .spsa import Spsa
from .still import Mode
from .table import threat
from .threat import Bounds


def fgsm_attack(*, eps: float = 8 / 255, norm: str = "linf", **settings: Any) -> Attack:
    """The fast gradient (sign) method as a value: one step of length eps from the image. More settings: `Attack`'s."""
    settings.setdefault("random_start", False)
    return Attack(threat=threat(norm, eps), steps=1, rule=Steepest(step=eps), **settings)


def pgd_attack(
    *, eps: float = 8 / 255, step: float | None = None, steps: int = 10, norm: str = "linf", **settings: Any
) -> Attack:
    """Projected gradient descent as a value; step=None: eps / 4. More settings: `Attack`'s.

    >>> pgd_attack(eps=8 / 255) == pgd_attack(eps=8 / 255, step=2 / 255, steps=10, norm="linf")
    True
    """
    return Attack(
        threat=threat(norm, eps), steps=steps, rule=Steepest(step=eps / 4 if step is None else step), **settings
    )


def spsa_attack(
    *,
    eps: float = 8 / 255,
    step: float = 0.01,
    steps: int = 100,
    samples: int = 128,
    delta: float = 0.01,
    rows: int = 1024,
    norm: str = "linf",
    **settings: Any,
) -> Attack:
    """SPSA with Adam as a value: it raises the margin and stops early, unless told otherwise. More: `Attack`'s."""
    settings = {"loss": "margin", "early_stop": True, **settings}
    estimator = Spsa(samples=samples, delta=delta, rows=rows)
    return Attack(threat=threat(norm, eps), steps=steps, rule=Adam(step=step), estimator=estimator, **settings)


def fgsm(
    model: nn.Module,
    images: Shaped[Tensor, "n c h w"],
    targets: Shaped[Tensor, "n *classes"],
    *,
    eps: float = 8 / 255,
    norm: str = "linf",
    loss: str | Loss = "cross_entropy",
    random_start: bool = False,
    targeted: bool = False,
    early_stop: bool = False,
    bounds: Bounds = (0.0, 1.0),
    keys: Shaped[Tensor, " n"] | None = None,
    mode: Mode = "eval",
    branch: str = "main",
    forward: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "n c h w"]:
    """Adversarial images by the fast gradient method: one step to the edge of the ball.

        x' = clip(x + eps sign(dL/dx))      (linf;  l2: eps g / |g|)

    eps    radius of the ball, in units of the images: 8/255 is 8 levels of 255
    norm   "linf" or "l2"

    Everything else, results and errors: `Attack`.

    Source   Goodfellow et al., "Explaining and harnessing adversarial examples", 2015, section 4.
    """
    attack = fgsm_attack(
        eps=eps,
        norm=norm,
        loss=loss,
        random_start=random_start,
        targeted=targeted,
        early_stop=early_stop,
        bounds=bounds,
    )
    return attack(model, images, targets, keys=keys, mode=mode, branch=branch, forward=forward)


def pgd(
    model: nn.Module,
    images: Shaped[Tensor, "n c h w"],
    targets: Shaped[Tensor, "n *classes"],
    *,
    eps: float = 8 / 255,
    step: float | None = None,
    steps: int = 10,
    norm: str = "linf",
    loss: str | Loss = "cross_entropy",
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    early_stop: bool = False,
    bounds: Bounds = (0.0, 1.0),
    keys: Shaped[Tensor, " n"] | None = None,
    mode: Mode = "eval",
    branch: str = "main",
    forward: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "n c h w"]:
    """Adversarial images by projected gradient descent: steepest steps, each followed by projection into the ball.

        x_{t+1} = P(x_t + step sign(dL/dx))      (linf;  l2: step g / |g|)

    eps    radius of the ball, in units of the images: 8/255 is 8 levels of 255
    step   length of a step in the same unit; None: eps / 4, which is 2/255 for 8/255
    steps  how many; the last point is returned, so `steps` forwards and backwards is all it costs
    norm   "linf" or "l2"

    Everything else, results and errors: `Attack`.

    Source   Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018, section 2.1;
             Summers, Understanding and Improving Deep Learning, 2021, section 3.2.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
    >>> images = torch.rand(2, 3, 2, 2)
    >>> adversarial = pgd(model, images, torch.tensor([3, 7]), eps=8 / 255)
    >>> bool((adversarial - images).abs().max() <= 8 / 255)
    True
    """
    attack = pgd_attack(
        eps=eps,
        step=step,
        steps=steps,
        norm=norm,
        loss=loss,
        random_start=random_start,
        restarts=restarts,
        targeted=targeted,
        early_stop=early_stop,
        bounds=bounds,
    )
    return attack(model, images, targets, keys=keys, mode=mode, branch=branch, forward=forward)


def spsa(
    model: nn.Module,
    images: Shaped[Tensor, "n c h w"],
    targets: Shaped[Tensor, "n *classes"],
    *,
    eps: float = 8 / 255,
    step: float = 0.01,
    steps: int = 100,
    samples: int = 128,
    delta: float = 0.01,
    rows: int = 1024,
    norm: str = "linf",
    loss: str | Loss = "margin",
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    early_stop: bool = True,
    bounds: Bounds = (0.0, 1.0),
    keys: Shaped[Tensor, " n"] | None = None,
    mode: Mode = "eval",
    branch: str = "main",
    forward: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "n c h w"]:
    """Adversarial images from logits alone: Adam on gradients that random differences estimate.

    It works where gradients vanish or mislead, and costs `samples` forwards of each image in each step.

    step      Adam's, in units of the images
    samples   forwards of each image in each step, even; the thesis follows a paper that uses up to 8,192
    delta     how far from the image they are
    rows      how many images the model sees at once, at most

    The loss is the margin, which no certainty of the model flattens. Everything else, results and errors: `Attack`;
    the estimate: `Spsa`.

    Source   Uesato et al., "Adversarial risk and the dangers of evaluating against weak attacks", 2018, section 4.1;
             step and delta as cleverhans has them.
    Differs  cleverhans leaves 1 / delta out, which Adam does not notice.
    """
    attack = spsa_attack(
        eps=eps,
        step=step,
        steps=steps,
        samples=samples,
        delta=delta,
        rows=rows,
        norm=norm,
        loss=loss,
        random_start=random_start,
        restarts=restarts,
        targeted=targeted,
        early_stop=early_stop,
        bounds=bounds,
    )
    return attack(model, images, targets, keys=keys, mode=mode, branch=branch, forward=forward)
