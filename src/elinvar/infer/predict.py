"""The mirror of the step: test images to logits, by the model's inference rule, leaving no trace."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from ..check import InputError
from ..data import Split
from ..norm import Mixture
from ..precision import Compute
from ..recipe import Infer
from ..routing import Routing, Trace, route
from ..views import Batch

LOWEST, HIGHEST = -0.75, 1.75  # room for images whose high frequencies are taken away, which leave [0, 1] a little


def check_range(images: Tensor) -> None:
    """Raise `InputError` for floating point images that are clearly not in [0, 1], and for integers but uint8."""
    if images.dtype == torch.uint8 or not images.numel():
        return
    if not images.is_floating_point():
        raise InputError(f"images: got dtype {images.dtype}, expected uint8, or floating point in [0, 1]")
    low, high = (value.item() for value in torch.aminmax(images))
    if not (low >= LOWEST and high <= HIGHEST):  # also true for NaN
        raise InputError(
            f"images: values span [{low:.4g}, {high:.4g}], expected uint8, or finite values in [0, 1]; divide 0..255 "
            "images by 255 and leave standardization to the model's input layer"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for every module of `model`; each gets its own mode back, also after an error."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


class Outputs(nn.Module):
    """Some outputs of a model, those at `places`: a model that knows these classes alone."""

    def __init__(self, model: nn.Module, places: Sequence[int]) -> None:
        super().__init__()
        self.model, self.places = model, tuple(places)

    def forward(self, images: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        logits: Tensor = self.model(images)
        return logits[:, list(self.places)]

    def extra_repr(self) -> str:
        return f"places={self.places}"


class Predictor:
    """A model as a pure function from images, uint8 or in [0, 1], to float32 logits on the CPU.

    judged    what predicts: the model, or its branches mixed (`Infer.mix`), or some outputs of these
    outputs   places of the outputs that count, where the data hold some of the classes (`DataSet.outputs`); None: all

    Raises `InputError` for a mix of branches that the model has not, and for a branch that is still to be chosen; when
    it is called, for images that are in 0..255 or standardized, and for a model that returns anything but logits.
    """

    def __init__(self, model: nn.Module, infer: Infer, compute: Compute, outputs: Sequence[int] | None = None) -> None:
        if infer.best_of:
            raise InputError(
                f"best_of: one of {', '.join(infer.best_of)} is still to be chosen; name it in infer.branch"
            )
        self.model, self.infer, self.compute = model, infer, compute
        self.judged: nn.Module = Mixture(model, infer.mix, infer.combine) if infer.mix else model
        if outputs is not None:
            self.judged = Outputs(self.judged, outputs)
        self._forward: Callable[[Tensor], Tensor] = compute.forward(self.judged)

    def __call__(self, images: Shaped[Tensor, "n c h w"], *, batch_size: int = 250) -> Float[Tensor, "n classes"]:
        """Logits of all images, `batch_size` at a time."""
        with self._session():
            return torch.cat([self._logits(part) for part in images.split(batch_size)])  # type: ignore[no-untyped-call]

    def batches(self, batches: Iterable[Batch]) -> tuple[Float[Tensor, "n classes"], Int64[Tensor, " n"]]:
        """Logits and targets of a stream of batches, in its order."""
        logits, targets = [], []
        with self._session():
            for batch in batches:
                logits.append(self._logits(batch.images))
                targets.append(batch.targets.cpu())
        return torch.cat(logits), torch.cat(targets)

    def frames(self, frames: Iterable[Shaped[Tensor, "n c h w"]]) -> Float[Tensor, "n t classes"]:
        """Logits of sequences that come frame by frame."""
        with self._session():
            return torch.stack([self._logits(frame) for frame in frames], 1)

    def _logits(self, images: Tensor) -> Tensor:
        check_range(images)
        return self._forward(images).cpu()

    def everything(self, split: Split, *, batch_size: int = 500) -> Iterator[Batch]:
        """All examples of `split` in its own order, where the model is: what `batches` wants to judge it whole."""
        return split.batches(torch.arange(len(split)), batch_size, device=self.compute.device)

    @contextmanager
    def _session(self) -> Iterator[None]:
        routing = Routing((self.infer.branch,))
        with torch.inference_mode(), evaluating(self.judged), route(self.model, routing, Trace.NOTHING):
            yield
