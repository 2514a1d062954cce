# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Two stacks of slices of one subject, and where the slices of the one lie in the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.transforms.geometry import find_slice_axis, slice_pitch, tilt_between
from monai_mmseg.transforms.pair_slices import pair_slices

MOST_TILT = 30.0
"""Degrees between two stacks above which a slice has no partner."""

FAR = 1.001
"""Slice spacings of the source beyond which its nearest slice says nothing of a slice of the target."""


class Stacks(NamedTuple):
    """What a baseline knows of a subject; slices along the last axis."""

    label: NDArray[np.integer[Any]]  # (X, Y, Z) of the source
    label_affine: NDArray[np.floating[Any]]  # (4, 4), voxel to mm
    shape: tuple[int, int, int]  # of the target
    affine: NDArray[np.floating[Any]]
    source: NDArray[np.float32] | None = None  # (X, Y, Z) on the label's grid; None for what looks at no image
    target: NDArray[np.float32] | None = None  # of `shape`
    ignore: int | None = None  # value of the label's voxels that nobody annotated, where it is to stay in the result

    def classes(self, label: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """A label with background where nobody annotated."""
        return label if self.ignore is None else np.where(label == self.ignore, 0, label)


class Placing:
    """Where voxels of the target lie in the source.

    Through-plane, every slice of the target has a partner in the source however far away, as for a reader who has
    nothing better; ``far`` says which ones lie more than a slice spacing of the source away from it. Stacks that are
    tilted by more than 30 degrees have no partners: then voxels lie where they lie.

    Args:
        stacks: both grids.
    """

    def __init__(self, stacks: Stacks) -> None:
        affine, label_affine = (np.asarray(one, dtype=np.float64) for one in (stacks.affine, stacks.label_affine))
        self.shape, self.depth = stacks.shape, stacks.label.shape[2]
        self.to_source = np.linalg.inv(label_affine) @ affine
        self.partner: NDArray[np.int64] | None = None
        self.far = np.zeros(stacks.shape[2], dtype=bool)
        if tilt_between(label_affine, affine) < MOST_TILT:
            center = ((stacks.shape[0] - 1) / 2, (stacks.shape[1] - 1) / 2)
            pairs = pair_slices(affine, stacks.shape[2], label_affine, self.depth, center=center)
            self.partner, self.far = pairs.partner, pairs.distance > FAR * slice_pitch(label_affine)

    def points(self, at: int, shift: NDArray[np.floating[Any]] | None = None) -> NDArray[np.float64]:
        """Indexes in the source of one slice of the target.

        Args:
            at: which slice.
            shift: added to the voxels of the target first, voxels, ``(2, X, Y)``: the slice keeps its partner;
                ``(3, X, Y)``: it is left for where the shift points, at the ends of the source for its last slice.

        Returns:
            Shape ``(3, X, Y)``.
        """
        grid = np.indices((*self.shape[:2], 1), dtype=np.float64)[..., 0]
        grid[2] = at
        if shift is not None:
            grid[: len(shift)] += shift
        found = np.tensordot(self.to_source[:3, :3], grid, 1) + self.to_source[:3, 3, None, None]
        if self.partner is not None:
            through = shift is not None and len(shift) == 3
            found[2] = np.clip(found[2], 0, self.depth - 1) if through else self.partner[at]
        return found

    def slab(self, label: NDArray[np.integer[Any]], at: int) -> NDArray[np.integer[Any]]:
        """What of the source one slice of the target can come from."""
        return label if self.partner is None else label[:, :, self.partner[at]]


def nearest(label: NDArray[np.integer[Any]], points: NDArray[np.float64]) -> NDArray[np.int16]:
    """Values of the nearest voxels, background outside.

    Args:
        label: shape ``(X, Y, Z)``.
        points: indexes in it, ``(3, ...)``.

    Examples:
        >>> nearest(np.array([[[5, 6]]]), np.array([[[0.2]], [[0.0]], [[0.9]]])).tolist()
        [[6]]
    """
    place = np.floor(points + 0.5).astype(np.int64)
    inside = is_inside(label.shape, points)
    found = np.zeros(points.shape[1:], dtype=np.int16)
    found[inside] = label[tuple(place[:, inside])]
    return found


def is_inside(shape: Sequence[int], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points lie in a voxel of a grid; ``points`` are indexes, ``(N, ...)``.

    Examples:
        >>> is_inside((3,), np.array([[-0.6, -0.4, 2.4, 2.6]])).tolist()
        [False, True, True, False]
    """
    place = np.floor(points + 0.5)
    size = np.asarray(shape).reshape(-1, *[1] * (points.ndim - 1))
    return np.asarray(((place >= 0) & (place < size)).all(axis=0))


def slices_last(affine: NDArray[np.floating[Any]], shape: Sequence[int]) -> list[int]:
    """Order of the axes of a volume that puts its slices last.

    Examples:
        >>> slices_last(np.diag([8.0, 1, 1, 1]), (10, 64, 64))
        [1, 2, 0]
    """
    axis = find_slice_axis(affine, shape)
    return [*(k for k in range(3) if k != axis), axis]
