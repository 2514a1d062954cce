# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The chest around a heart: wall, lungs, mediastinum and the organs below the diaphragm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.tissues import HEART_TISSUES

TISSUE = {name: np.uint8(number) for number, name in enumerate(HEART_TISSUES)}

Array = NDArray[np.float32]


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
        x, y, z = fixed
        rim = np.hypot(x / self.width, y / self.depth)
        inside = (1 - rim) * self.depth * (1 + (self.width / self.depth - 1) * np.square(x / self.width))  # about mm
        tissue = np.full(x.shape, TISSUE["air"], np.uint8)
        tissue[inside > 0] = TISSUE["fat"]
        tissue[inside > self.fat] = TISSUE["muscle"]
        middle = inside - self.fat - self.muscle / 2
        rib = np.square(middle / (0.3 * self.muscle)) < 1 - np.square(
            np.sin(np.pi * (z - 0.3 * y) / self.rib_distance + self.rib_phase) / 0.6
        )
        tissue[rib] = TISSUE["bone"]
        cavity = inside > self.fat + self.muscle
        tissue[cavity] = TISSUE["lung"]

        p, q, h = moved
        lung = np.flatnonzero(cavity)
        tissue.reshape(-1)[lung[self._vessels(*(c.reshape(-1)[lung] for c in moved))]] = TISSUE["blood"]
        mediastinum = np.hypot((p - 2) / 34, (q + 30) / 62) < 1
        tissue[cavity & mediastinum] = TISSUE["fat"]
        pad = (
            np.square((p + 22) / 52) + np.square((q - self.depth + 40) / (18 + self.fat_pad)) + np.square((h + 30) / 62)
        )
        tissue[cavity & (pad < 1)] = TISSUE["fat"]
        tissue[cavity & (np.hypot(p - 4, q + 42) < 9)] = TISSUE["muscle"]  # oesophagus
        aorta = np.hypot(p + 24, q + 50)
        tissue[cavity & (aorta < 14)] = TISSUE["muscle"]
        tissue[cavity & (aorta < 12)] = TISSUE["blood"]

        top = self.dome + self.dome_right / (1 + np.exp(-(p - 10) / 15))
        top = top - np.square(p - 20) / 420 - np.square(q) / 330
        under = cavity & (h < top)
        tissue[under] = TISSUE["fat"]
        tissue[under & (h < top - 2) & (p > -55)] = TISSUE["liver"]
        a, b, c = self.stomach
        stomach = np.square((p - a) / 38) + np.square((q - b) / 42) + np.square((h - c) / 30)
        tissue[under & (stomach < 1)] = TISSUE["stomach"]
        tissue[np.hypot(x, y + self.depth - 48) < 19] = TISSUE["bone"]
        return tissue

    def _vessels(self, p: Array, q: Array, h: Array) -> NDArray[np.bool_]:
        """Where the lungs have vessels: peaks of crossed waves, bent so that they make no lattice."""
        a, b, c = self.vessels
        wave = np.sin(p / 7 + 2.5 * np.sin(h / 23 + a)) * np.sin(q / 8 + 2.5 * np.sin(p / 29 + b))
        return np.asarray(wave * np.sin(h / 9 + 2.5 * np.sin(q / 21 + c)) > 0.80)
