"""The two passes over a batch of which every normalization is made.

    rows = Rows(x, partition)
    mean, variance = rows.moments()             # (groups, channels) tables
    ...                                         # a policy's algebra on these small tables
    y = rows.affine(center, scale, shift)       # (x - center) * scale + shift, each row by the line of its group

What lies between the passes (pooling channels, other workers, memory, gamma and beta) is ordinary differentiable code
on small tables. On a CPU the passes are compiled kernels, forwards and backwards, without a temporary of the batch's
size; elsewhere, while compiling and under `torch.func`, they are tensor operations.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ..partition import Partition
from . import dense

if TYPE_CHECKING:
    from .fused import Link

Table = Float[Tensor, "groups channels"]


def table_dtype(x: Tensor) -> torch.dtype:
    """The type of statistics: float32, or float64 for float64 inputs."""
    return torch.promote_types(x.dtype, torch.float32)


class Rows:
    """A batch and which of its rows belong together."""

    def __init__(self, x: Float[Tensor, "n c *spatial"], partition: Partition) -> None:
        self.dtype, self.partition = x.dtype, partition
        self.x = x.float() if x.dtype is torch.float16 and by_kernel(x) else x  # which kernels do not read
        self._link: Link | None = None

    def moments(self) -> tuple[Table, Table]:
        """Mean and biased variance of each group and channel; zeros for a group without rows."""
        if not by_kernel(self.x):
            return dense.moments(self.x, self.partition)
        from . import fused

        self._link = fused.Link()
        return fused.moments(self.x, self.partition, self._link)

    def affine(self, center: Table, scale: Table, shift: Table) -> Tensor:
        """(x - center) * scale + shift, in the dtype of x.

        After `moments`, at least one of the three tables must depend on its results, or x gets no gradient.
        """
        if not by_kernel(self.x):
            return dense.affine(self.x, self.partition, center, scale, shift)
        from . import fused

        return fused.affine(self.x, self.partition, center, scale, shift, self._link).to(self.dtype)


def by_kernel(x: Tensor) -> bool:
    """Whether compiled kernels can run on x: they see its numbers, not what follows how numbers are made."""
    return (
        x.device.type == "cpu"
        and type(x) in (Tensor, torch.nn.Parameter)
        and x.dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


def sums_well(x: Tensor) -> bool:
    """Whether torch's own BatchNorm kernels keep the digits of their sums over x.

    On a CPU those for inputs whose channels are stored last add float32 one by one (torch 2.13), and those for other
    strides than these and contiguous ones round more, too. Rows of single values are contiguous and added one by one as
    well; there the default stays torch's, whose bits contiguous inputs keep.
    """
    return x.is_contiguous()
