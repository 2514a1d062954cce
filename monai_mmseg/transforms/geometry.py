# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which axis of a volume is the slice axis, and how the slices lie in the patient: pure functions of the affine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

SliceAxis = Literal["auto", "axial", "coronal", "sagittal"] | int

Floats = NDArray[np.float64]

_WORLD_AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}
_CLEARLY_COARSER = 1.2


def _directions(affine: ArrayLike) -> tuple[Floats, Floats]:
    """Unit direction of every array axis (columns) and the spacings in mm."""
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"affine must have shape (4, 4), got {matrix.shape}.")
    columns = matrix[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(columns)) < 1e-9:
        raise ValueError(f"affine must be invertible, got {matrix.tolist()}.")
    return columns / spacing, spacing


def find_slice_axis(
    affine: ArrayLike, shape: Sequence[int], slice_axis: SliceAxis = "auto", reference: ArrayLike | None = None
) -> int:
    """Array axis along which a volume is a stack of slices.

    A rule on spacing, not on direction, decides where it can: an oblique short-axis stack at 45 degrees to the scanner
    has one coarse axis, whatever its direction is nearest to.

    Args:
        affine: voxel to world matrix, shape ``(4, 4)``, mm.
        shape: size of the volume, three numbers.
        slice_axis: ``"auto"``: the only axis of size one, else the one whose spacing is more than 1.2 times that of
            both others, else the one nearest to `reference`. ``"axial"``, ``"coronal"``, ``"sagittal"``: the axis
            nearest to that direction of the patient. A number: that array axis.
        reference: direction that decides where ``"auto"`` finds no coarse axis, three numbers. Default: head to foot.

    Returns:
        0, 1 or 2.

    Raises:
        ValueError: if the affine cannot be inverted or `slice_axis` is unknown.

    Examples:
        >>> find_slice_axis(np.diag([8.0, 1.5, 1.5, 1.0]), (10, 128, 128))
        0
    """
    directions, spacing = _directions(affine)
    if isinstance(slice_axis, int):
        if not 0 <= slice_axis <= 2:
            raise ValueError(f"slice_axis must be 0, 1 or 2 as a number, got {slice_axis}.")
        return slice_axis
    if slice_axis in _WORLD_AXIS:
        return int(np.argmax(np.abs(directions[_WORLD_AXIS[slice_axis]])))
    if slice_axis != "auto":
        raise ValueError(f"slice_axis must be 'auto', one of {sorted(_WORLD_AXIS)} or 0, 1, 2, got {slice_axis!r}.")
    if list(shape).count(1) == 1:
        return list(shape).index(1)
    coarsest = int(np.argmax(spacing))
    if spacing[coarsest] > _CLEARLY_COARSER * np.delete(spacing, coarsest).max():
        return coarsest
    along = np.array([0.0, 0.0, 1.0]) if reference is None else np.asarray(reference, dtype=np.float64)
    return int(np.argmax(np.abs(along @ directions)))


def _viewing_frame(normal: Floats) -> tuple[Floats, Floats]:
    """Directions in which rows and columns of a picture of the plane should run (down, right), in RAS.

    As in radiology: axial planes have the patient's left on the right and posterior below; all others have inferior
    below and left, or posterior, on the right. Directions are found from the plane itself, not from the nearest axis,
    so that planes of two patients that are tilted a little differently are not turned by 90 degrees. Short-axis stacks
    lie near the middle of their range: scanners keep their rows horizontal.
    """
    x, y, z = np.eye(3)
    if abs(normal[2]) > 0.85:
        right = -x + normal * (normal @ x)
        right /= np.linalg.norm(right)
        down = np.cross(normal, right)
        return (down if down @ -y >= 0 else -down), right
    down = -z + normal * (normal @ z)
    down /= np.linalg.norm(down)
    right = np.cross(normal, down)
    return down, (right if right @ (-x - y) >= 0 else -right)


def slice_orientation(affine: ArrayLike, slice_axis: int) -> NDArray[np.int64]:
    """Axis permutation and flips that put a stack of slices into one canonical orientation.

    The slice axis goes last, rows run down and columns right in the radiological view, and the handedness is always
    the same: the anatomy is never mirrored. How the file stores the axes does not matter.

    Args:
        affine: voxel to world matrix, shape ``(4, 4)``, mm.
        slice_axis: array axis of the slices, see :func:`find_slice_axis`.

    Returns:
        Orientation in the convention of nibabel, shape ``(3, 2)``: for each input axis its output axis and 1 or -1.

    Examples:
        >>> slice_orientation(np.diag([1.0, 1.0, 5.0, 1.0]), 2).tolist()  # an axial stack stored as RAS
        [[1, -1], [0, -1], [2, 1]]
    """
    directions, _ = _directions(affine)
    in_plane = [axis for axis in range(3) if axis != slice_axis]
    normal = np.cross(directions[:, in_plane[0]], directions[:, in_plane[1]])
    down, right = _viewing_frame(normal / np.linalg.norm(normal))

    def rank(option: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[float, ...]:
        (row, column), (row_sign, column_sign) = option
        rows, columns = row_sign * directions[:, row], column_sign * directions[:, column]
        # rounding, then the direction itself, breaks ties at exactly 45 degrees the same way for every storage order
        return (round(float(rows @ down + columns @ right), 3), *np.round(rows, 3).tolist())

    (row, column), (row_sign, column_sign) = max(product(permutations(in_plane), product((1, -1), repeat=2)), key=rank)
    stack = np.cross(column_sign * directions[:, column], row_sign * directions[:, row])
    slice_sign = 1 if stack @ directions[:, slice_axis] > 0 else -1
    result = np.zeros((3, 2), dtype=np.int64)
    result[row], result[column], result[slice_axis] = (0, row_sign), (1, column_sign), (2, slice_sign)
    return result


def slice_normal(affine: ArrayLike) -> Floats:
    """Unit direction across the slices of a volume whose slice axis is the last.

    Examples:
        >>> slice_normal(np.diag([1.0, 1.0, 8.0, 1.0])).tolist()
        [0.0, 0.0, 1.0]
    """
    columns = np.asarray(affine, dtype=np.float64)[:3, :3]
    normal: Floats = np.cross(columns[:, 0], columns[:, 1])
    return normal / np.linalg.norm(normal)


def slice_pitch(affine: ArrayLike) -> float:
    """Distance of neighbouring slices in mm, measured across the slices; the slice axis is the last.

    Args:
        affine: voxel to world matrix, shape ``(4, 4)``.

    Examples:
        >>> slice_pitch(np.diag([1.0, 1.0, 8.0, 1.0]))
        8.0
    """
    return float(abs(np.asarray(affine, dtype=np.float64)[:3, 2] @ slice_normal(affine)))


def voxel_sizes(affine: ArrayLike, shape: Sequence[int]) -> tuple[float, float, float]:
    """Distances of neighbouring voxels along the axes of an array, mm; their product is the volume of a voxel.

    Of slices that are shifted against each other (a tilted gantry) the distance of their planes counts, not that of
    voxels of one row and column.

    Args:
        affine: voxel to world matrix, shape ``(4, 4)``.
        shape: size of the volume, three numbers.

    Examples:
        >>> sheared = np.diag([1.0, 1.0, 8.0, 1.0])
        >>> sheared[1, 2] = 3
        >>> [round(size, 9) for size in voxel_sizes(sheared, (16, 16, 5))]
        [1.0, 1.0, 8.0]
    """
    columns = np.asarray(affine, dtype=np.float64)[:3, :3]
    sizes = np.linalg.norm(columns, axis=0)
    upright = abs(float(np.linalg.det(columns))) / float(np.prod(sizes))
    if upright < 1 - 1e-6:
        sizes[find_slice_axis(affine, shape)] *= upright
    return float(sizes[0]), float(sizes[1]), float(sizes[2])


def tilt_between(affine_a: ArrayLike, affine_b: ArrayLike) -> float:
    """Angle between the slices of two volumes in degrees (0 to 90); the slice axis is the last of each.

    Args:
        affine_a: voxel to world matrix, shape ``(4, 4)``.
        affine_b: the same of the other volume.

    Examples:
        >>> round(tilt_between(np.eye(4), np.diag([1.0, -1.0, 5.0, 1.0])), 3)
        0.0
    """
    cosine = abs(slice_normal(affine_a) @ slice_normal(affine_b))
    return float(np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0))))
