"""The two passes of `rows.py` as tensor operations: for GPUs, `torch.compile`, `torch.func` and second derivatives."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..partition import Partition

Table = Float[Tensor, "groups channels"]


def moments(x: Float[Tensor, "n c *spatial"], partition: Partition) -> tuple[Table, Table]:
    """Mean and biased variance of each group and channel, by way of those of each row."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if not x.numel():  # zeros that hang on x, so that a backward finds its way
        zeros = wide.sum() + wide.new_zeros(len(partition.rows), x.shape[1])
        return zeros, zeros
    values = wide.flatten(2) if wide.ndim > 2 else wide.unsqueeze(-1)
    variance, mean = torch.var_mean(values, dim=2, correction=0)
    if partition.trivial:
        return mean, variance
    rows = torch.tensor(partition.rows, dtype=wide.dtype, device=x.device).clamp(min=1).unsqueeze(1)
    center = by_group(mean, partition) / rows
    return center, by_group(variance + (mean - by_row(center, partition)).square(), partition) / rows


def by_group(table: Float[Tensor, "rows channels"], partition: Partition) -> Table:
    """The sum over the rows of each group; on a CPU, where rows are added one by one, by way of float64."""
    if partition.trivial:
        return table
    if len(partition.rows) == 1:
        return table.sum(0, keepdim=True)
    wide = table.double() if table.device.type == "cpu" else table
    groups = wide.new_zeros(len(partition.rows), table.shape[1])
    return groups.index_add(0, partition.on(table.device), wide).to(table.dtype)


def by_row(table: Table, partition: Partition) -> Float[Tensor, "rows channels"]:
    """The line of each row's group; one line for all where there is but one group."""
    return table if partition.trivial or len(partition.rows) == 1 else table[partition.on(table.device)]


def affine(x: Float[Tensor, "n c *spatial"], partition: Partition, center: Table, scale: Table, shift: Table) -> Tensor:
    """(x - center) * scale + shift, each row by the line of its group, in the dtype of x."""
    lines = (by_row(table, partition) for table in (center, scale, shift))
    middle, factor, offset = (line.reshape(*line.shape, *[1] * (x.ndim - 2)) for line in lines)
    return ((x - middle) * factor + offset).to(x.dtype)


def affine_sums(gradient: Tensor, x: Tensor, partition: Partition, center: Table) -> tuple[Table, Table]:
    """For each group and channel: the sums of gradient * (x - center) and of gradient."""
    line = by_row(center, partition)
    middle = line.reshape(*line.shape, *[1] * (x.ndim - 2))
    products = gradient * (x - middle)
    first, second = (values.reshape(*values.shape[:2], -1).sum(2) for values in (products, gradient))
    return by_group(first, partition), by_group(second.to(first.dtype), partition)
