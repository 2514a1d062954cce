# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The chest around a heart: wall, lungs, mediastinum and the organs below the diaphragm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.tissues import HEART_TISSUES

TISSUE = {name: np.uint8(number) for number, name in enumerate(HEART_TISSUES)}

SKIN_INWARDS = np.array([TISSUE[name] for name in ("air", "fat", "muscle", "lung")])

Array = NDArray[np.float32]


def in_disc(x: NDArray[np.floating], y: NDArray[np.floating], radius: float) -> NDArray[np.intp]:
    """Places in an array where points lie nearer to the origin of a plane than ``radius``.

    Args:
        x: first coordinate, shape ``(n,)``.
        y: second coordinate, same shape.
        radius: of the disc.

    Returns:
        Places in ascending order.

    Examples:
        >>> in_disc(np.array([0.0, 0.9, 2.0]), np.array([0.5, 0.9, 0.0]), 1).tolist()
        [0]
    """
    square = np.flatnonzero((np.abs(x) < radius) & (np.abs(y) < radius))  # hypot is slow
    return square[np.hypot(x[square], y[square]) < radius]


@dataclass(frozen=True)
class Thorax:
    """One subject's chest in patient space (mm, RAS+, origin between the lungs); drawn by :meth:`draw`."""

    width: float  # half axis of the skin's ellipse
    depth: float
    fat: float  # thickness under the skin
    muscle: float
    rib_distance: float
    rib_phase: float
    dome: float  # height of the diaphragm
    dome_right: float  # how much higher it is on the right
    stomach: tuple[float, float, float]
    fat_pad: float  # fat between heart and chest wall
    vessels: tuple[float, float, float]  # phases of the pattern of the lungs' vessels

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Thorax:
        """Chest of a random subject.

        Args:
            rng: random generator.

        Returns:
            The chest.
        """
        return cls(
            width=rng.uniform(150, 180),
            depth=rng.uniform(100, 118),
            fat=rng.uniform(8, 24),
            muscle=rng.uniform(10, 16),
            rib_distance=rng.uniform(24, 30),
            rib_phase=rng.uniform(0, 2 * np.pi),
            dome=rng.uniform(-50, -40),
            dome_right=rng.uniform(10, 25),
            stomach=(rng.uniform(-90, -70), rng.uniform(-10, 20), rng.uniform(-85, -70)),
            fat_pad=rng.uniform(5, 18),
            vessels=(rng.uniform(0, 6.28), rng.uniform(0, 6.28), rng.uniform(0, 6.28)),
        )

    def classify(self, moved: Array, fixed: Array) -> NDArray[np.uint8]:
        """Tissue number at each point.

        Args:
            moved: positions at rest of the points (lungs, diaphragm and below), mm, shape ``(3, *shape)``.
            fixed: the points themselves (chest wall, spine), same shape.

        Returns:
            Places in ``HEART_TISSUES``, shape ``(*shape)``.
        """
        x, y, z = (part.reshape(-1) for part in fixed)
        # what lies deep in the chest or far outside is told without a root
        rim = np.square(x / self.width) + np.square(y / self.depth)
        deep = np.square(1 - (self.fat + self.muscle + 1) / self.depth)
        tissue = np.where(rim < deep, TISSUE["lung"], TISSUE["air"])
        band = np.flatnonzero((rim >= deep) & (rim < 1.01))
        tissue[band] = self._wall(x[band], y[band], z[band])
        cavity = np.flatnonzero(tissue == TISSUE["lung"])
        tissue[cavity] = self._cavity(*moved.reshape(3, -1).take(cavity, axis=1))
        tissue[in_disc(x, y + self.depth - 48, 19)] = TISSUE["bone"]
        return tissue.reshape(fixed.shape[1:])

    def _wall(self, x: Array, y: Array, z: Array) -> NDArray[np.uint8]:
        """Skin, muscles and ribs at points near the surface; air outside, lung inside."""
        rim = np.hypot(x / self.width, y / self.depth)
        inside = (1 - rim) * self.depth * (1 + (self.width / self.depth - 1) * np.square(x / self.width))  # about mm
        levels = (0.0, self.fat, self.fat + self.muscle)
        tissue = SKIN_INWARDS.take(np.sum([inside > level for level in levels], axis=0, dtype=np.uint8))
        middle = np.square((inside - self.fat - self.muscle / 2) / (0.3 * self.muscle))
        near = np.flatnonzero(middle < 1)
        turn = np.pi * (z[near] - 0.3 * y[near]) / self.rib_distance + self.rib_phase
        tissue[near[middle[near] < 1 - np.square(np.sin(turn) / 0.6)]] = TISSUE["bone"]
        return tissue

    def _cavity(self, p: Array, q: Array, h: Array) -> NDArray[np.uint8]:
        """Tissue at points within the ribs, at their positions at rest."""
        tissue = np.full(p.shape, TISSUE["lung"], np.uint8)
        mediastinum = in_disc((p - 2) / 34, (q + 30) / 62, 1)
        tissue[mediastinum] = TISSUE["fat"]
        pad = (
            np.square((p + 22) / 52) + np.square((q - self.depth + 40) / (18 + self.fat_pad)) + np.square((h + 30) / 62)
        )
        tissue[pad < 1] = TISSUE["fat"]
        back = np.flatnonzero((q > -65) & (q < -32) & (p > -39) & (p < 14))  # where the next three are
        x, y = p[back], q[back]
        tissue[back[in_disc(x - 4, y + 42, 9)]] = TISSUE["muscle"]  # oesophagus
        tissue[back[in_disc(x + 24, y + 50, 14)]] = TISSUE["muscle"]  # aorta
        tissue[back[in_disc(x + 24, y + 50, 12)]] = TISSUE["blood"]

        low = np.flatnonzero(h < self.dome + self.dome_right + 1)
        tissue[low] = self._abdomen(p[low], q[low], h[low], tissue[low])
        lung = np.flatnonzero(tissue == TISSUE["lung"])
        tissue[lung[self._vessels(p[lung], q[lung], h[lung])]] = TISSUE["blood"]
        return tissue

    def _abdomen(self, p: Array, q: Array, h: Array, around: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Tissue below the diaphragm, ``around`` above it."""
        top = self.dome + self.dome_right / (1 + np.exp(-(p - 10) / 15))
        top = top - np.square(p - 20) / 420 - np.square(q) / 330
        under = h < top
        tissue = np.where(under, TISSUE["fat"], around)
        tissue[under & (h < top - 2) & (p > -55)] = TISSUE["liver"]
        a, b, c = self.stomach
        stomach = np.square((p - a) / 38) + np.square((q - b) / 42) + np.square((h - c) / 30)
        tissue[under & (stomach < 1)] = TISSUE["stomach"]
        return tissue

    def _vessels(self, p: Array, q: Array, h: Array) -> NDArray[np.bool_]:
        """Where the lungs have vessels: peaks of crossed waves, bent so that they make no lattice."""
        a, b, c = self.vessels
        wave = np.sin(p / 7 + 2.5 * np.sin(h / 23 + a)) * np.sin(q / 8 + 2.5 * np.sin(p / 29 + b))
        found = np.abs(wave) > 0.80  # the third wave makes no peak higher
        h, q, wave = h[found], q[found], wave[found]
        found[found] = wave * np.sin(h / 9 + 2.5 * np.sin(q / 21 + c)) > 0.80
        return found
