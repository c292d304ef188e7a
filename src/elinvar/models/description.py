"""What a run's manifest says about its model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ..routing import Routed
from .standardize import Standardized


@dataclass(frozen=True, kw_only=True)
class Description:
    """Facts about a model; numbers count elements, shared ones once.

    architecture    import path of the network's class
    classes         length of its output, None where it is not known
    parameters      all, and `trainable` those with a gradient
    buffers         what is stored besides: statistics, mean and std
    normalization   class name -> number of layers
    dtypes          of its parameters
    """

    architecture: str
    classes: int | None
    parameters: int
    trainable: int
    buffers: int
    normalization: Mapping[str, int]
    dtypes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as numbers, text, lists and dictionaries: what JSON holds."""
        return {**asdict(self), "dtypes": list(self.dtypes)}


def describe(model: nn.Module) -> Description:
    """Count what a model holds.

    >>> from elinvar.models import build
    >>> describe(build("resnet-20", classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)).parameters
    269722
    """
    network = model.network if isinstance(model, Standardized) else model
    normalizing = (_NormBase, Routed, nn.GroupNorm, nn.LayerNorm)
    layers = Counter(type(module).__name__ for module in model.modules() if isinstance(module, normalizing))
    parameters = list(model.parameters())
    return Description(
        architecture=f"{type(network).__module__}.{type(network).__qualname__}",
        classes=model.classes if isinstance(model, Standardized) else None,
        parameters=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        buffers=sum(buffer.numel() for buffer in model.buffers()),
        normalization=dict(layers),
        dtypes=tuple(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters})),
    )
