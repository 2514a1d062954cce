# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Voxel grids in oblique, scanner-like positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Plane(NamedTuple):
    """Equally spaced points on a plane: ``origin + i * step_i + j * step_j``."""

    origin: NDArray[np.float64]  # (3,) mm
    step_i: NDArray[np.float64]  # (3,) mm
    step_j: NDArray[np.float64]  # (3,) mm
    shape: tuple[int, int]

    def points(self) -> NDArray[np.float32]:
        """Positions in mm, shape ``(3, *shape)``."""
        i = np.arange(self.shape[0], dtype=np.float32)[:, None]
        j = np.arange(self.shape[1], dtype=np.float32)[None, :]
        o, a, b = (v.astype(np.float32) for v in (self.origin, self.step_i, self.step_j))
        points = np.empty((3, *self.shape), np.float32)
        for c in range(3):
            np.add(o[c] + a[c] * i, b[c] * j, out=points[c])
        return points


@dataclass(frozen=True)
class Grid:
    """Voxel lattice of one acquired volume, slices along the last axis.

    Args:
        shape: number of voxels along the three axes.
        affine: voxel index to patient position (mm, RAS+), shape ``(4, 4)``.
        thickness: extent of a slice in mm that is averaged into its voxels; less than the slice spacing leaves a gap.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    thickness: float

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of voxel centres in mm along the three axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def axes(self) -> NDArray[np.float64]:
        """Unit vectors of the three voxel axes as columns, shape ``(3, 3)``."""
        return np.asarray(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))

    def plane(self, index: int, offset: float = 0.0, subdivide: tuple[int, int] = (1, 1)) -> Plane:
        """Sub-sampled points of one slice.

        Args:
            index: slice number.
            offset: position within the slice, from -0.5 to 0.5 of its thickness.
            subdivide: number of points in each voxel along the two in-plane axes.

        Returns:
            The plane of points; voxel ``i`` holds the points ``i * n`` to ``i * n + n - 1``.
        """
        first = [(1 / n - 1) / 2 for n in subdivide]
        origin = self.affine[:3, :3] @ np.array([*first, index]) + self.affine[:3, 3]
        return Plane(
            origin + self.axes[:, 2] * (offset * self.thickness),
            self.affine[:3, 0] / subdivide[0],
            self.affine[:3, 1] / subdivide[1],
            (self.shape[0] * subdivide[0], self.shape[1] * subdivide[1]),
        )


def rotation_matrix(vector: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotation about an axis (Rodrigues' formula).

    Args:
        vector: rotation axis, its length the angle in degrees, shape ``(3,)``.

    Returns:
        Matrix of shape ``(3, 3)``.

    Examples:
        >>> rotation_matrix([0, 0, 90]).round(6) @ [1, 0, 0]
        array([0., 1., 0.])
    """
    v = np.radians(np.asarray(vector, dtype=float))
    angle = float(np.linalg.norm(v))
    if angle == 0:
        return np.eye(3)
    x, y, z = v / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross))


def oblique_grid(
    centre: Sequence[float] | NDArray[np.floating],
    axes: NDArray[np.floating],
    spacing: Sequence[float],
    shape: Sequence[int],
    *,
    thickness: float | None = None,
) -> Grid:
    """Grid of the given orientation whose middle lies at a point.

    Args:
        centre: middle of the volume in mm (RAS+), shape ``(3,)``.
        axes: unit vectors of the voxel axes as columns, right-handed, shape ``(3, 3)``.
        spacing: distance of voxel centres in mm.
        shape: number of voxels.
        thickness: slice thickness in mm, by default the slice spacing (no gap).

    Returns:
        The grid; its affine is rounded to float32 because NIfTI stores no more.

    Raises:
        ValueError: ``axes`` is not a rotation.

    Examples:
        >>> oblique_grid([0, 0, 0], np.eye(3), [2, 2, 8], [3, 3, 1]).affine[:3, 3]
        array([-2., -2.,  0.])
    """
    axes = np.asarray(axes, dtype=float)
    if axes.shape != (3, 3) or not np.allclose(axes.T @ axes, np.eye(3), atol=1e-6) or np.linalg.det(axes) < 0:
        raise ValueError(f"axes must be a right-handed rotation matrix, got {axes.tolist()}.")
    x, y, z = (int(n) for n in shape)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing, dtype=float)
    affine[:3, 3] = np.asarray(centre, dtype=float) - affine[:3, :3] @ ((np.array([x, y, z]) - 1) / 2)
    affine = affine.astype(np.float32).astype(float)
    return Grid((x, y, z), affine, float(spacing[2] if thickness is None else thickness))
