"""Virtual batches: a fixed set of reference examples joins every batch's statistics, without gradients."""

import torch
from torch import Tensor, nn

from ..check import InputError
from ..outputs import one_tensor
from ..routing import Routing, Trace, route
from .layer import Norm


class VirtualBatch(nn.Module):
    """Runs `model` on the batch and `reference` together, and returns what belongs to the batch.

    Each normalization layer pools its statistics over both, by number of values; the reference's activations are
    computed anew in every forward, by the same layers, and no gradient passes through them. So small batches are
    normalized like large ones, at the cost of a forward of the reference. With `OwnBatch` inference a single test
    example is normalized together with the reference, which makes batch statistics legitimate for it; a model whose
    inference reads its memory ignores the reference in eval mode.

    model      converted by `norm.convert`, with one branch and without ghosts; its output has one row for each image
    reference  images (R, C, H, W) like those of a batch; kept as a buffer that checkpoints do not hold

    Raises `InputError` for a model without converted layers, and inside a route of several views.

    Source   Salimans et al., "Improved techniques for training GANs", 2016, who normalize each example by itself and
             the reference; Wu and Johnson 2021, appendix A.5: as here, the whole batch by both.
    """

    reference: Tensor

    def __init__(self, model: nn.Module, reference: Tensor) -> None:
        super().__init__()
        layers = [module for module in model.modules() if isinstance(module, Norm)]
        if not layers:
            raise InputError("no layer takes a reference batch: convert the model first, norm.convert(model, policy)")
        if not len(reference):
            raise InputError("the reference batch is empty; give it at least one image")
        if any(len(layer.policy.branches) > 1 for layer in layers):
            raise InputError("a reference batch serves one branch: give each branch a model and a reference of its own")
        self.model = model
        self.register_buffer("reference", reference, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        layer = next(module for module in self.model.modules() if isinstance(module, Norm))
        if not layer.training and not layer.policy.inference.needs_rows:
            return self.model(x)  # type: ignore[no-any-return]
        outer = layer.session
        if outer is not None and len(outer.routing.branches) > 1:
            raise InputError(f"a reference batch joins one view, but this forward has {len(outer.routing.branches)}")
        joined = torch.cat([x, self.reference.to(x.dtype)])
        routing = Routing((layer.policy.branches[0],), reference=len(self.reference))
        with route(self.model, routing, outer.trace if outer else Trace.COMMIT):
            out = one_tensor(self.model(joined), "a tensor with one row for each image")
        return out[: len(x)]
