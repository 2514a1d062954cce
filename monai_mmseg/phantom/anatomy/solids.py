# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Ellipsoids and tubes, and the points that they are painted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Solid(Protocol):
    """A shape with a bounding box and a level that is below 1 inside it."""

    @property
    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner in mm."""
        ...

    def level(self, points: Array) -> Array:
        """Level at points of shape ``(3, n)``: 0 in the middle, 1 at the surface."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid in any orientation.

    Args:
        centre: middle in mm.
        radii: half axes in mm.
        axes: unit vectors along the half axes as columns, shape ``(3, 3)``; by default those of the patient.

    Examples:
        >>> Ellipsoid((0, 0, 0), (2, 2, 4)).level(np.array([[0.0], [0.0], [4.0]])).item()
        1.0
    """

    centre: Sequence[float] | NDArray[np.floating]
    radii: Sequence[float] | NDArray[np.floating]
    axes: NDArray[np.floating] = field(default_factory=lambda: np.eye(3))

    @property
    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner in mm."""
        reach = np.sqrt(np.square(self.axes * np.asarray(self.radii, dtype=float)).sum(1))
        return np.asarray(self.centre) - reach, np.asarray(self.centre) + reach

    def level(self, points: Array) -> Array:
        """Level at points of shape ``(3, n)``."""
        back = (self.axes / np.asarray(self.radii, dtype=float)).T
        offset = points - np.asarray(self.centre, dtype=points.dtype)[:, None]
        return np.asarray(np.sqrt(np.square(back.astype(points.dtype) @ offset).sum(0)))


@dataclass(frozen=True)
class Tube:
    """Bent tube whose radius changes linearly from one point of its path to the next.

    Args:
        path: points in mm, shape ``(n, 3)``.
        radii: radius at each point.

    Examples:
        >>> Tube([(0, 0, 0), (0, 0, 10)], (1, 3)).level(np.array([[1.0], [0.0], [5.0]])).item()
        0.5
    """

    path: Sequence[Sequence[float] | NDArray[np.floating]]
    radii: Sequence[float]

    @property
    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner in mm."""
        path, radii = np.asarray(self.path, dtype=float), np.asarray(self.radii, dtype=float)[:, None]
        return (path - radii).min(0), (path + radii).max(0)

    def level(self, points: Array) -> Array:
        """Level at points of shape ``(3, n)``."""
        path = np.asarray(self.path, dtype=points.dtype)
        best = np.full(points.shape[1], np.inf, points.dtype)
        for start, stop, near, far in zip(path, path[1:], self.radii, self.radii[1:], strict=False):
            way = stop - start
            offset = points - start[:, None]
            along = np.clip(way @ offset / max(float(way @ way), 1e-6), 0, 1)
            distance = np.sqrt(np.square(offset - way[:, None] * along).sum(0))
            best = np.minimum(best, distance / (near + (far - near) * along))
        return best


@dataclass(frozen=True)
class Hits:
    """Points of a canvas that lie in a solid."""

    index: NDArray[np.intp]  # (n,) places in the flattened canvas
    points: Array  # (3, n) mm
    level: Array  # (n,) below 1


class Canvas:
    """Points of a slab with the tissue and label of each; what is painted later covers what was there.

    Args:
        points: positions in mm, shape ``(3, *shape)``.
        tissue: tissue number at each point, shape ``shape``; painted on in place.
    """

    def __init__(self, points: Array, tissue: NDArray[np.uint8]) -> None:
        self.shape = tissue.shape
        self.points = points.reshape(3, -1)
        self.tissue = tissue.reshape(-1)
        self.label = np.zeros_like(self.tissue)
        self.low, self.high = self.points.min(1), self.points.max(1)

    def within(self, low: NDArray[np.floating], high: NDArray[np.floating]) -> NDArray[np.intp]:
        """Places of the points in a box.

        Args:
            low: lowest corner in mm.
            high: highest corner in mm.

        Returns:
            Places in the flattened canvas, none where the slab and the box do not meet.
        """
        if np.any(low > self.high) or np.any(high < self.low):
            return np.zeros(0, np.intp)
        inside = np.ones(self.points.shape[1], bool)
        for axis in range(3):
            if low[axis] > self.low[axis]:
                inside &= self.points[axis] > low[axis]
            if high[axis] < self.high[axis]:
                inside &= self.points[axis] < high[axis]
        return np.flatnonzero(inside)

    def inside(self, solid: Solid, limit: float = 1.0) -> Hits:
        """Points in a solid.

        Args:
            solid: the shape.
            limit: level to stay below; more than 1 reaches beyond the surface.

        Returns:
            The points.
        """
        low, high = solid.box
        grow = (max(limit, 1.0) - 1) * (high - low) / 2
        index = self.within(low - grow, high + grow)
        points = self.points[:, index]
        level = solid.level(points)
        hit = level < limit
        return Hits(index[hit], points[:, hit], level[hit])

    def paint(
        self,
        index: NDArray[np.intp],
        tissue: np.uint8 | NDArray[np.uint8],
        label: int = 0,
        *,
        where: NDArray[np.bool_] | None = None,
    ) -> None:
        """Cover points.

        Args:
            index: their places.
            tissue: new tissue, one number or one for each place.
            label: new label.
            where: which of the places to cover, shape as ``index``; all by default.
        """
        if where is not None:
            index, tissue = index[where], tissue[where] if isinstance(tissue, np.ndarray) else tissue
        self.tissue[index] = tissue
        self.label[index] = label
