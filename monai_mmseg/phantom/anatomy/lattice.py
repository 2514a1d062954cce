# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Functions of space that are worked out once on a regular lattice and then looked up anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.fields import SmoothField
from monai_mmseg.phantom.grid import Plane

Array = NDArray[np.float32]


class Lattice:
    """Values at equally spaced points, linear in between.

    Use it for what is smooth and slow to work out, such as a sum of many waves or its gradient.

    Args:
        values: values at the points, shape ``(channels, X, Y, Z)``.
        start: position of the first point, mm.
        step: distance of the points, mm.

    Examples:
        >>> Lattice(np.arange(8.0).reshape(1, 2, 2, 2), (0, 0, 0), 2.0).at(np.array([[1.0], [0.0], [2.0]]))
        array([[3.]], dtype=float32)
    """

    def __init__(self, values: NDArray[np.floating], start: Sequence[float], step: float) -> None:
        self.shape = values.shape[1:]
        self.rows: Array = np.ascontiguousarray(np.moveaxis(values, 0, -1), np.float32).reshape(-1, len(values))
        self.start, self.step = np.asarray(start, dtype=np.float32), float(step)

    @staticmethod
    def points(shape: tuple[int, int, int], start: Sequence[float], step: float) -> Array:
        """Positions of the points of a lattice.

        Args:
            shape: number of points along the axes.
            start: position of the first point, mm.
            step: distance of the points, mm.

        Returns:
            Positions in mm, shape ``(3, *shape)``.
        """
        axes = [np.float32(first) + np.float32(step) * np.arange(n) for first, n in zip(start, shape, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)

    @classmethod
    def of_field(cls, field: SmoothField, shape: tuple[int, int, int], start: Sequence[float], step: float) -> Lattice:
        """Lattice of a smooth field.

        Args:
            field: the field, of any number of components.
            shape: number of points along the axes.
            start: position of the first point, mm.
            step: distance of the points, mm.

        Returns:
            The lattice, a channel for each component.
        """
        x, y, z = step * np.eye(3)
        planes = [Plane(np.asarray(start, dtype=float) + k * z, x, y, shape[:2]) for k in range(shape[2])]
        return cls(np.stack([field.on_plane(*plane) for plane in planes], axis=-1), start, step)

    def at(self, points: NDArray[np.floating]) -> Array:
        """Values at any points; outside the lattice the nearest value of its surface.

        Args:
            points: positions in mm, shape ``(3, n)``.

        Returns:
            Values, shape ``(channels, n)``.
        """
        last = np.array(self.shape, dtype=np.float32)[:, None] - 1
        place = np.clip((points.astype(np.float32) - self.start[:, None]) / np.float32(self.step), 0, last)
        low = np.minimum(place.astype(np.int64), np.maximum(last.astype(np.int64) - 1, 0))
        part = place - low
        _, ny, nz = self.shape
        strides = (ny * nz, nz, 1)
        first = low[0] * strides[0] + low[1] * strides[1] + low[2]
        total = np.zeros((points.shape[1], self.rows.shape[1]), np.float32)
        for corner in np.ndindex(2, 2, 2):
            weight = np.ones(points.shape[1], np.float32)
            offset = 0
            for axis, up in enumerate(corner):
                weight *= part[axis] if up else 1 - part[axis]
                offset += strides[axis] * up * (self.shape[axis] > 1)
            total += self.rows[first + offset] * weight[:, None]
        return np.ascontiguousarray(total.T)
