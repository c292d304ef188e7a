"""Label smoothing as a step of a recipe: a view's targets become soft before anything, an attack too, looks at them."""

from dataclasses import dataclass, replace

from ..check import InputError, unknown
from ..context import Context, Transform
from ..views import View
from .smoothing import CONVENTIONS, smooth_targets


@dataclass(frozen=True, kw_only=True)
class SmoothTargets(Transform):
    """Smooth the targets of a view by `smooth_targets`. After a mix or before it gives the same.

    s, convention   as there

    Raises `InputError` for settings out of range, and for class numbers if the model does not say how many classes
    there are (`model.classes`).
    """

    s: float = 0.1
    convention: str = "others"

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise unknown("convention of label smoothing", self.convention, CONVENTIONS)
        if not 0.0 <= self.s <= 1.0:
            raise InputError(f"s: got {self.s}, expected 0 to 1")

    def __call__(self, view: View, context: Context, *path: int | str) -> View:
        soft = view.targets.ndim == 2
        classes = view.targets.shape[1] if soft else getattr(context.model, "classes", None)
        if classes is None:
            raise InputError(
                "label smoothing: the model does not say how many classes there are; "
                "set its attribute `classes`, or give soft targets"
            )
        return replace(view, targets=smooth_targets(view.targets, classes, self.s, self.convention))
