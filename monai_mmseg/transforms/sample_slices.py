# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Sample slices of one volume on the in-plane lattice of another, in one vectorised call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from monai_mmseg.transforms.geometry import find_slice_axis, slice_orientation


class SliceStack(NamedTuple):
    """A volume with the slice axis last and its affine."""

    array: Tensor  # (X, Y, S)
    affine: NDArray[np.float64]  # (4, 4)
    reversed: bool  # whether slice 0 is the last one of the file


def as_slice_stack(volume: MetaTensor, reference: ArrayLike | None = None) -> SliceStack:
    """Move the slice axis of a volume last and let it run in the canonical direction; in-plane nothing changes.

    The direction decides between two slices that are equally near, so it must not depend on how a file is stored.

    Args:
        volume: ``(1, X, Y, Z)``.
        reference: direction that decides where no axis is clearly coarser, three numbers.

    Returns:
        Array and matching affine.

    Examples:
        >>> volume = MetaTensor(torch.zeros(1, 5, 8, 9), affine=torch.diag(torch.tensor([8.0, 1.0, 1.0, 1.0])))
        >>> tuple(as_slice_stack(volume).array.shape)
        (8, 9, 5)
    """
    affine = np.asarray(volume.affine, dtype=np.float64)
    axis = find_slice_axis(affine, volume.shape[1:], "auto", reference)
    order = [*(other for other in range(3) if other != axis), axis]
    array, moved = volume.as_tensor()[0].permute(order), affine[:, [*order, 3]].copy()
    flip = bool(slice_orientation(affine, axis)[axis, 1] < 0)
    if flip:
        moved[:3, 3] += moved[:3, 2] * (array.shape[2] - 1)
        moved[:3, 2] *= -1
        array = array.flip(2)
    return SliceStack(array, moved, flip)


def voxel_coordinates(lattice_affine: ArrayLike, size: tuple[int, int, int], affine: ArrayLike) -> Tensor:
    """Where the points of a lattice lie in a volume, in voxels of the volume: float64, shape ``(H, W, D, 3)``.

    Args:
        lattice_affine: voxel to world matrix of the lattice, ``(4, 4)``.
        size: ``(H, W, D)`` of the lattice.
        affine: voxel to world matrix of the volume.

    Examples:
        >>> voxel_coordinates(np.diag([2.0, 2.0, 2.0, 1.0]), (2, 1, 1), np.eye(4))[:, 0, 0].tolist()
        [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    """
    matrix = torch.as_tensor(
        np.linalg.inv(np.asarray(affine, dtype=np.float64)) @ np.asarray(lattice_affine, dtype=np.float64)
    )
    result = matrix[:3, 3].expand(*size, 3)
    for axis, length in enumerate(size):
        shape = [1, 1, 1, 1]
        shape[axis] = length
        result = result + torch.arange(length, dtype=torch.float64).reshape(shape) * matrix[:3, axis]
    return result


def _normalised(coordinates: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Voxel coordinates as ``grid_sample`` wants them with ``align_corners=False`` (last array axis first)."""
    scale = torch.tensor(sizes, dtype=coordinates.dtype)
    return ((2 * coordinates + 1) / scale - 1).flip(-1)


def sample_slices(array: Tensor, coordinates: Tensor, index: ArrayLike, *, nearest: bool = False) -> Tensor:
    """Sample whole slices in-plane: nothing is interpolated across slices.

    Args:
        array: volume with the slice axis last, ``(X, Y, S)``.
        coordinates: voxel coordinates of the lattice in that volume, ``(H, W, D, 3)``; the third is not used.
        index: which slices to sample for each lattice slice, ``(D, k)``; negative rows give zeros.
        nearest: for labels; points outside are 0. Otherwise linear, with the border value outside.

    Returns:
        ``(k, H, W, D)``, of the type of `array`.

    Examples:
        >>> volume = torch.arange(8.0).reshape(2, 2, 2)
        >>> grid = voxel_coordinates(np.eye(4), (2, 2, 1), np.eye(4))
        >>> sample_slices(volume, grid, [[1]])[0, :, :, 0].tolist()
        [[1.0, 3.0], [5.0, 7.0]]
    """
    slices = torch.as_tensor(np.asarray(index, dtype=np.int64))
    depth, count = slices.shape
    picked = array.permute(2, 0, 1)[slices.clamp(min=0).reshape(-1)][:, None].to(torch.float32)
    grid = _normalised(coordinates[..., :2], tuple(array.shape[:2])).permute(2, 0, 1, 3).to(torch.float32)
    grid = grid.repeat_interleave(count, dim=0)
    mode, padding = ("nearest", "zeros") if nearest else ("bilinear", "border")
    sampled = F.grid_sample(picked, grid, mode=mode, padding_mode=padding, align_corners=False)
    sampled = sampled.reshape(depth, count, *sampled.shape[2:])
    sampled = torch.where((slices >= 0)[:, :, None, None], sampled, torch.zeros(()))
    return sampled.permute(1, 2, 3, 0).to(array.dtype)


def sample_volume(array: Tensor, coordinates: Tensor, *, nearest: bool = False) -> Tensor:
    """Sample a volume in all three directions, for stacks whose planes are not parallel: ``(H, W, D)``.

    Args:
        array: ``(X, Y, S)``; the result has its type.
        coordinates: voxel coordinates of the lattice, ``(H, W, D, 3)``.
        nearest: for labels; points outside are 0. Otherwise linear, with the border value outside.

    Examples:
        >>> volume = torch.arange(8.0).reshape(2, 2, 2)
        >>> grid = voxel_coordinates(np.eye(4), (2, 2, 2), np.eye(4))
        >>> bool((sample_volume(volume, grid) == volume).all())
        True
    """
    grid = _normalised(coordinates, tuple(array.shape)).to(torch.float32)[None]
    mode, padding = ("nearest", "zeros") if nearest else ("bilinear", "border")
    volume = array.to(torch.float32)[None, None]
    return F.grid_sample(volume, grid, mode=mode, padding_mode=padding, align_corners=False)[0, 0].to(array.dtype)
