"""Signs of gradient masking: robustness that only the attack believes in, said in plain words.

An attack that knows more, searches longer or may use gradients should fool the model more often. Where it does not,
gradients do not lead to the images that fool the model, and the accuracy under gradient attacks is no robustness.

Two attacks are compared on the same images. Let a be how many only the first one fools and b how many only the second
one: where both are equally strong, a is binomial with n = a + b and p = 1/2. A warning needs a probability below
`ALPHA` for as large an a, so that chance gives one in a thousand comparisons.

Source   Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", 2018, section 3.1;
         Carlini et al., "On evaluating adversarial robustness", 2019; Summers, Understanding and Improving Deep
         Learning, 2021, section 3.5, where PGD with 1,000 steps and SPSA find what PGD-20 does not.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from .attack import Attack
from .result import Result

ALPHA = 1e-3
FALL = 0.02  # of accuracy with more steps: beyond it the shorter search had not converged


def warnings(results: Mapping[str, Result], black_box: Mapping[str, Result], flat: float = 0.0) -> tuple[str, ...]:
    """Every sign of gradient masking in a model's results; none: an empty tuple.

    results     by name of attack, on the model itself; natural images may be among them
    black_box   by name of the source, on images that were made for another model
    flat        share of images where the gradient of the loss is exactly zero

    Only attacks of the same threat are compared. Searches too short to cross the ball (steps * step < 2 eps) miss
    some images for that reason alone, and are left out.
    """
    white = {name: result for name, result in results.items() if result.attack is not None}
    found = []
    if flat > 0.01:
        found.append(
            f"The gradient of the loss is exactly zero at {flat:.1%} of the images: there an attack by gradients has "
            "nothing to follow, and proves nothing."
        )
    for threat in dict.fromkeys(_of(result).threat for result in white.values()):
        of = {name: result for name, result in white.items() if _of(result).threat == threat}
        transferred = {name: result for name, result in black_box.items() if _of(result).threat == threat}
        found += _within(of, transferred)
    return tuple(found)


def _within(white: Mapping[str, Result], black_box: Mapping[str, Result]) -> list[str]:
    gradient = {name: result for name, result in white.items() if not _of(result).estimator.gradient_free}
    long = sorted((name for name in gradient if _crosses(_of(gradient[name]))), key=lambda n: _of(gradient[n]).steps)
    if not long:
        return []
    found = []
    for name, result in white.items():
        best = _best(result, long, gradient)
        text = _stronger(result, best, gradient[best])
        if text and _of(result).estimator.gradient_free:
            found.append(
                f"{name}, which uses no gradients, {text}: the gradients mislead {best}. Trust the lower figure, and "
                "expect a stronger attack to find a lower one still."
            )
        elif text and _of(result).steps == 1:
            found.append(
                f"{name}, a single step, {text}: many small steps should find at least what one large step finds. The "
                "loss is too rugged near the images for gradients to lead far."
            )
    found += _transferred(black_box, long, gradient)
    for short, longer in pairwise(long):
        one, two = gradient[short], gradient[longer]
        if text := _stronger(one, longer, two):
            found.append(
                f"The accuracy rises with more steps: {short} {text}. A longer search should never be weaker; the "
                "step may be too long, or the gradients mislead."
            )
        elif (fall := _fall(one, two)) >= FALL and _stronger(two, short, one):
            found.append(
                f"The accuracy is still falling with more steps: by {100 * fall:.1f} points from {short} to {longer}. "
                f"{short} had not converged; report the longer search, and try one that is longer still."
            )
    return found


def _transferred(black_box: Mapping[str, Result], long: Sequence[str], gradient: Mapping[str, Result]) -> list[str]:
    """One warning for all sources, about the one whose images fool the model most."""
    stronger = {}
    for name, result in black_box.items():
        best = _best(result, long, gradient)
        if text := _stronger(result, best, gradient[best]):
            stronger[name] = result.accuracy, (f"what was made for {name} {text}, although {best} knows this model")
    if not stronger:
        return []
    _, text = min(stronger.values())
    others = f"; so are those for {len(stronger) - 1} more" if len(stronger) > 1 else ""
    return [f"Images made for another model are the stronger attack: {text}{others}. Its gradients hide what fools it."]


def _best(result: Result, long: Sequence[str], gradient: Mapping[str, Result]) -> str:
    """The longest search of those that were tried on as many images as `result`, or of all if none was."""
    return ([name for name in long if gradient[name].n >= result.n] or list(long))[-1]


def _of(result: Result) -> Attack:
    assert result.attack is not None
    return result.attack


def _crosses(attack: Attack) -> bool:
    return attack.steps * attack.rule.step >= 2 * attack.threat.eps


def _stronger(result: Result, other: str, reference: Result) -> str:
    """How much more `result` fools the model than `reference` on the images of both; nothing if it may be chance."""
    from scipy.stats import binomtest

    n = min(result.n, reference.n)
    one, two = result.correct[:n], reference.correct[:n]
    more, less = int((two & ~one).sum()), int((one & ~two).sum())
    if more <= less or binomtest(more, more + less, alternative="greater").pvalue >= ALPHA:
        return ""
    accuracy, known = float(one.float().mean()), float(two.float().mean())
    return f"fools {more - less:,} of {n:,} images more than {other} does (accuracy {accuracy:.1%} against {known:.1%})"


def _fall(short: Result, longer: Result) -> float:
    n = min(short.n, longer.n)
    return float(short.correct[:n].double().mean() - longer.correct[:n].double().mean())
