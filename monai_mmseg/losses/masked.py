# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Means over the rows that count, equal on one process and on many.

A batch holds rows that a loss must leave out: subjects without a label, modalities that were not acquired. Each
process of a distributed run sees another number of such rows, so a mean of means is not the mean. The functions here
divide by the count over *all* processes and scale by their number, because ``DistributedDataParallel`` averages
gradients: the result is the gradient of one process that holds the joined batch. Every collective call is made
whatever the data are, so that a process without a single row to count does not leave the others waiting.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from monai_mmseg.distributed import is_distributed, world_size


def mask_samples(values: Tensor, mask: Tensor | None, name: str = "mask") -> Tensor:
    """Returns the tensor with the rows outside of the mask replaced by zeros.

    Call it on the *inputs* of a loss: NaN or Inf in a row that is left out then reaches neither the value nor the
    gradient (a mask applied to the result would multiply an infinite derivative by zero).

    Args:
        values: any tensor with rows first, shape ``(N, ...)``.
        mask: rows to keep, bool, shape ``(N,)``. ``None`` keeps all.
        name: how the caller's signature names the mask, for the error.

    Returns:
        Tensor of the shape of ``values``.

    Raises:
        ValueError: when ``mask`` is not a bool tensor of shape ``(N,)``.

    Examples:
        >>> mask_samples(torch.tensor([[1.0, 2.0], [float("nan"), 3.0]]), torch.tensor([True, False]))
        tensor([[1., 2.],
                [0., 0.]])
    """
    if mask is None:
        return values
    check_rows(name, mask, values.shape[0], torch.bool)
    return torch.where(mask.reshape(-1, *[1] * (values.ndim - 1)), values, values.new_zeros(()))


def global_count(count: Tensor) -> Tensor:
    """Returns a count summed over all processes, or the count itself in a run of one process.

    Args:
        count: what this process counted, any shape, the same on every process.

    Returns:
        Detached tensor of this shape.

    Examples:
        >>> global_count(torch.tensor([True, False, True]).sum())
        tensor(2)
    """
    count = count.detach()
    if not is_distributed():
        return count
    total = count.clone()
    dist.all_reduce(total)
    return total


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns the mean over the rows that count; zero when no row does.

    When to use: to reduce the rows of a loss in an objective. In a distributed run all processes must call it.

    Args:
        values: one value a row, shape ``(N,)``. Rows left out may hold NaN.
        mask: rows that count, bool, shape ``(N,)``. ``None`` means all.

    Returns:
        Scalar. In a run of W processes it is W times this process' share of the mean, so that the mean over processes,
        which is what ``DistributedDataParallel`` does with gradients, is the mean over all rows.

    Raises:
        ValueError: when the shapes do not fit.

    Examples:
        >>> masked_mean(torch.tensor([1.0, 3.0, float("nan")]), torch.tensor([True, True, False]))
        tensor(2.)
        >>> masked_mean(torch.tensor([1.0, 3.0]), torch.tensor([False, False]))
        tensor(0.)
    """
    if values.ndim != 1:
        raise ValueError(f"values must have shape (N,), got {tuple(values.shape)}.")
    kept = mask_samples(values, mask)
    rows = torch.ones(kept.shape, device=kept.device) if mask is None else mask.float()
    return world_size() * kept.sum() / global_count(rows.sum()).clamp(min=1)


def group_means(values: Tensor, group: Tensor, num_groups: int, mask: Tensor | None = None) -> Tensor:
    """Returns the mean of every group: :func:`masked_mean` of each group of rows, in one collective call.

    When to use: losses of several groups of rows (modalities, ordered pairs of modalities), each averaged over its own.

    Args:
        values: one value a row, shape ``(N,)``.
        group: the group of each row, integers in ``[0, num_groups)``, shape ``(N,)``.
        num_groups: number of groups.
        mask: rows that count, bool, shape ``(N,)``. ``None`` means all.

    Returns:
        Means, shape ``(num_groups,)``; zero for a group without rows.

    Raises:
        ValueError: when the shapes do not fit or ``group`` does not hold integers.

    Examples:
        >>> group_means(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
        tensor([2., 0., 5.])
    """
    if values.ndim != 1:
        raise ValueError(f"values must have shape (N,), got {tuple(values.shape)}.")
    members = _members(group, num_groups, values.shape[0], mask).to(values.dtype)
    # a product and a sum, not a matrix product: autocast would turn that one into half precision
    sums = (members * mask_samples(values, mask)).sum(1)
    return world_size() * sums / global_count(members.sum(1)).clamp(min=1)


def group_sums(
    values: Tensor,
    group: Tensor | None = None,
    num_groups: int = 1,
    mask: Tensor | None = None,
    *,
    differentiable: bool = True,
) -> Tensor:
    """Returns the sum of the rows of every group, over all processes.

    When to use: losses that are no mean over rows, because a ratio or a logarithm of sums over the batch follows (a
    Dice over the batch, a mean over the pixels of a class). Every process gets the same sums, so the loss is equal on
    all of them; ``DistributedDataParallel`` then makes the gradient of one process that holds the joined batch.

    Args:
        values: rows first, shape ``(N, ...)``. Rows left out may hold NaN.
        group: the group of each row, integers in ``[0, num_groups)``, shape ``(N,)``. ``None`` puts all rows in
            group 0.
        num_groups: number of groups.
        mask: rows that count, bool, shape ``(N,)``. ``None`` means all.
        differentiable: keep the gradient, across processes too.

    Returns:
        Sums, shape ``(num_groups, ...)``; zero for a group without rows.

    Raises:
        ValueError: when the shapes do not fit.

    Examples:
        >>> group_sums(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([0, 2, 0]), 3)
        tensor([[6., 8.],
                [0., 0.],
                [3., 4.]])
    """
    if group is None:
        group = torch.zeros(values.shape[0], dtype=torch.long, device=values.device)
    members = _members(group, num_groups, values.shape[0], mask).to(values.dtype)
    rows = mask_samples(values, mask).flatten(1) if values.ndim > 1 else mask_samples(values, mask)[:, None]
    # a product and a sum, not a matrix product: autocast would turn that one into half precision
    sums = (members[:, :, None] * rows).sum(1).reshape(num_groups, *values.shape[1:])
    if not differentiable:
        return global_count(sums)
    return _SumOverProcesses.apply(sums) if is_distributed() else sums


def mean_of_columns(values: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean over columns of the mean over the rows that count in each; columns without rows do not count.

    When to use: terms of several modalities, or of pairs of them, of which each subject has some.

    Args:
        values: one value a row and column, shape ``(N, ...)``; all axes but the first are columns. Entries left out may
            hold NaN.
        mask: entries that count, bool, of the same shape.

    Returns:
        Scalar, zero when nothing counts. In a run of W processes its mean over them is that of all rows.

    Raises:
        ValueError: when the shapes differ or the mask is not bool.

    Examples:
        >>> values = torch.tensor([[1.0, 5.0, float("nan")], [3.0, float("nan"), float("nan")]])
        >>> mean_of_columns(values, ~values.isnan())  # means 2 and 5
        tensor(3.5000)
    """
    if mask.shape != values.shape or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool of shape {tuple(values.shape)}, got {mask.dtype} of shape {tuple(mask.shape)}."
        )
    sums = torch.where(mask, values, 0).sum(0)
    counts = global_count(mask.sum(0))
    columns = (counts > 0).sum().clamp(min=1)
    return world_size() * (sums / counts.clamp(min=1)).sum() / columns


def class_counts(
    onehot: Tensor,
    group: Tensor | None = None,
    num_groups: int = 1,
    mask: Tensor | None = None,
    *,
    differentiable: bool = False,
) -> Tensor:
    """Returns how many pixels every class has in every group, over all processes.

    When to use: to find the class weights of :func:`monai_mmseg.losses.weighted_cross_entropy` of several groups at
    once, or in a distributed run: ``class_weights_from_counts(class_counts(onehot, group, P))[group]`` are weights
    per row.

    Args:
        onehot: one-hot labels (or probabilities, for the swapped form), shape ``(N, K, *spatial)``.
        group: the group of each row, integers in ``[0, num_groups)``, shape ``(N,)``. ``None`` puts all rows in
            group 0.
        num_groups: number of groups.
        mask: rows that count, bool, shape ``(N,)``. ``None`` means all.
        differentiable: keep the gradient, across processes too (the swapped form differentiates its weights).

    Returns:
        Counts, shape ``(num_groups, K)``, at least float32.

    Raises:
        ValueError: when the shapes do not fit.

    Examples:
        >>> onehot = torch.eye(2)[torch.tensor([[0, 1, 1], [0, 0, 0]])].movedim(-1, 1)  # two rows of three pixels
        >>> class_counts(onehot, torch.tensor([0, 1]), 2)
        tensor([[1., 2.],
                [3., 0.]])
    """
    if onehot.ndim < 3:
        raise ValueError(f"onehot must have shape (N, K, *spatial), got {tuple(onehot.shape)}.")
    rows = mask_samples(onehot, mask)
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32)).flatten(2).sum(2)
    return group_sums(rows, group, num_groups, mask, differentiable=differentiable)


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce whose gradient is the all-reduced gradient: every process' loss depends on every process' input."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        total = grad.detach().clone()
        dist.all_reduce(total)
        return total


def _members(group: Tensor, num_groups: int, rows: int, mask: Tensor | None) -> Tensor:
    """Bool table of shape ``(num_groups, N)``: which row counts in which group."""
    check_rows("group", group, rows, torch.long)
    if num_groups < 1:
        raise ValueError(f"num_groups must be at least 1, got {num_groups}.")
    # reading the range would make a GPU wait, and cut a compiled graph
    if (
        group.device.type == "cpu"
        and rows
        and not torch.compiler.is_compiling()
        and (int(group.min()) < 0 or int(group.max()) >= num_groups)
    ):
        raise ValueError(f"group must hold numbers from 0 to {num_groups - 1}, got {sorted(set(group.tolist()))}.")
    members = group[None] == torch.arange(num_groups, device=group.device)[:, None]
    if mask is not None:
        check_rows("mask", mask, rows, torch.bool)
        members = members & mask[None]
    return members


def check_rows(name: str, values: Tensor, rows: int, dtype: torch.dtype) -> None:
    """Raises an error unless there is one value of a type for each row.

    Args:
        name: how the caller's signature names the values.
        values: what should have shape ``(rows,)``.
        rows: number of rows.
        dtype: the type.

    Raises:
        ValueError: when they are no tensor, or of another shape or type.

    Examples:
        >>> check_rows("labelled", torch.ones(2), 2, torch.bool)
        Traceback (most recent call last):
        ValueError: labelled must be torch.bool of shape (2,), got torch.float32 of shape (2,).
    """
    if not isinstance(values, Tensor):
        raise ValueError(f"{name} must be a tensor, {dtype} of shape ({rows},), got {values!r}.")
    if values.shape != (rows,) or values.dtype != dtype:
        raise ValueError(
            f"{name} must be {dtype} of shape ({rows},), got {values.dtype} of shape {tuple(values.shape)}."
        )
