# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Linear interpolation of channels in blocks of rows, each of which may become something smaller at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
import torch.nn.functional as F
from monai.networks.utils import to_norm_affine
from torch import Tensor

BLOCK_VALUES = 1 << 23
"""Values of a block, all channels: 32 MB in single precision, which caches and allocators like better than more."""


def resample_in_blocks(
    values: Tensor,
    xform: Tensor,
    size: Sequence[int],
    *,
    border: bool = True,
    finish: Callable[[Tensor], Tensor] | None = None,
    block_values: int = BLOCK_VALUES,
) -> Tensor:
    """Channels interpolated at the voxels of another grid, never all of them at once.

    When to use: for many channels on a large grid, of which only a map of classes is wanted: with ``finish``
    :func:`most_likely` no more than that map is held. Where the axes of both grids are parallel, they are interpolated
    one after the other, ten times faster than ``grid_sample``; sheared grids are sampled by it.

    Args:
        values: ``(C, X, Y, Z)``.
        xform: index of a voxel of the other grid to that of `values`, ``(4, 4)``.
        size: of the other grid, three numbers.
        border: outside of `values` is what is at their edge; otherwise 0.
        finish: makes ``(C', x, Y', Z')`` of a block ``(C, x, Y', Z')``; default takes it as it is.
        block_values: the most values of a block.

    Returns:
        ``(C', *size)``, on the device of `values`.

    Raises:
        ValueError: when a shape does not fit.

    Examples:
        >>> half = torch.diag(torch.tensor([1.0, 1.0, 0.5, 1.0]))
        >>> resample_in_blocks(torch.tensor([[[[0.0, 2.0]]]]), half, (1, 1, 4)).flatten().tolist()
        [0.0, 1.0, 2.0, 2.0]
    """
    if values.ndim != 4 or tuple(xform.shape) != (4, 4) or len(size) != 3:
        raise ValueError(
            f"values must be (C, X, Y, Z), xform (4, 4) and size three numbers, got {tuple(values.shape)}, "
            f"{tuple(xform.shape)} and {tuple(size)}."
        )
    place = xform.to("cpu", torch.float64)
    rows = max(1, block_values // max(1, values.shape[0] * prod(size[1:])))
    sample = _along_axes if _parallel(place, [*values.shape[1:], *size]) else _by_grid
    result: Tensor | None = None
    for start in range(0, size[0], rows):
        stop = min(start + rows, size[0])
        block = sample(values, place, (start, stop), size, border)
        block = block if finish is None else finish(block)
        if result is None:
            result = block.new_empty((block.shape[0], *size))
        result[:, start:stop] = block
    assert result is not None
    return result


def most_likely(values: Tensor) -> Tensor:
    """Class of the largest value, ``(1, X, Y, Z)``, the first of equal ones; uint8 up to 256 classes.

    Args:
        values: ``(C, X, Y, Z)``.

    Examples:
        >>> most_likely(torch.tensor([0.2, 0.5, 0.3]).reshape(3, 1, 1, 1)).item()
        1
    """
    # max: its indices cost a tenth of what argmax takes on a CPU
    return values.max(0, keepdim=True).indices.to(torch.uint8 if values.shape[0] <= 256 else torch.int32)


def _parallel(xform: Tensor, sizes: Sequence[int]) -> bool:
    """Whether rows, columns and slices stay what they are, to a thousandth of a voxel at the far end."""
    off = xform[:3, :3] - torch.diag(torch.diag(xform)[:3])
    return float(off.abs().max()) * max(sizes) < 1e-3


def _along_axes(values: Tensor, xform: Tensor, rows: tuple[int, int], size: Sequence[int], border: bool) -> Tensor:
    block = values
    for axis in (0, 2, 1):  # rows first, which leaves the fewest; slices, which do not lie together, before columns
        start, stop = rows if axis == 0 else (0, size[axis])
        place = torch.arange(start, stop, dtype=torch.float64) * xform[axis, axis] + xform[axis, 3]
        block = _along(block, place, axis + 1, border)
    return block


def _along(values: Tensor, place: Tensor, dim: int, border: bool) -> Tensor:
    last = values.shape[dim] - 1
    if bool(((place - place.round()).abs() < 1e-6).all()):
        place = place.round()  # what inverting two affines leaves is no reason to interpolate
    inside = place.clamp(0, last)
    below = inside.floor().clamp(max=max(last - 1, 0))
    shape = [-1 if axis == dim else 1 for axis in range(values.ndim)]
    part = (inside - below).to(values).reshape(shape)
    index = below.long().to(values.device)
    if bool((part == 0).all()):
        straight = len(index) == last + 1 and bool((index == torch.arange(last + 1, device=index.device)).all())
        found = values if straight else values.index_select(dim, index)
    else:
        found = torch.lerp(values.index_select(dim, index), values.index_select(dim, (index + 1).clamp(max=last)), part)
    if border or bool((place == inside).all()):
        return found
    weight = (1 - (place - inside).abs()).clamp(min=0)
    return found * weight.to(values).reshape(shape)


def _by_grid(values: Tensor, xform: Tensor, rows: tuple[int, int], size: Sequence[int], border: bool) -> Tensor:
    shape = (rows[1] - rows[0], *size[1:])
    first = torch.eye(4, dtype=torch.float64)
    first[0, 3] = rows[0]
    theta = to_norm_affine((xform @ first)[None], values.shape[1:], shape, align_corners=False)[0, :3]
    theta = theta.flip(0)  # grid_sample counts axes from the last
    theta = torch.cat([theta[:, :3].flip(1), theta[:, 3:]], 1).to(values.device)
    grid = F.affine_grid(theta[None], [1, 1, *shape], align_corners=False)
    found = F.grid_sample(
        values[None].to(torch.float64), grid, padding_mode="border" if border else "zeros", align_corners=False
    )
    return found[0].to(values.dtype)
