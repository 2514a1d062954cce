# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The trunk that organs lie in: skin, fat, muscle, ribs, spine, lungs and the space below the diaphragm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BODY_TISSUES = (
    *("air", "lung", "fat", "muscle", "bone", "marrow", "fluid", "gas", "liver", "spleen", "cortex", "medulla"),
    *("pancreas", "wall", "content", "blood", "venous", "myocardium", "lesion"),
)
"""Tissues of the trunk; the position in this list is the tissue's number.

Wall and content are those of the digestive tract; blood is on its way from the lungs to the organs and venous blood on
its way back, which differ after a contrast agent.
"""

TISSUE = {name: np.uint8(number) for number, name in enumerate(BODY_TISSUES)}

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Torso:
    """One subject's trunk in patient space, drawn by :meth:`draw`.

    Lengths in mm, RAS+: x to the patient's right, y to the front, z to the head. The origin lies in the middle of the
    body at about the height of the right half of the diaphragm.
    """

    width: float  # half axis of the skin
    depth: float
    square: float  # exponent of the skin's outline: 2 is an ellipse
    fat: float  # thickness under the skin
    muscle: float
    rib_distance: float
    rib_phase: float
    disc_phase: float
    dome: float  # height of the right half of the diaphragm
    dome_left: float  # how much lower the left half is
    vessels: tuple[float, float, float]  # phases of the pattern of the lungs' vessels

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Torso:
        """Trunk of a random subject.

        Args:
            rng: random generator.

        Returns:
            The trunk.
        """
        return cls(
            width=rng.uniform(150, 178),
            depth=rng.uniform(104, 124),
            square=rng.uniform(2.1, 2.6),
            fat=rng.uniform(7, 24),
            muscle=rng.uniform(9, 14),
            rib_distance=rng.uniform(24, 30),
            rib_phase=rng.uniform(0, 2 * np.pi),
            disc_phase=rng.uniform(0, 1),
            dome=rng.uniform(-6, 6),
            dome_left=rng.uniform(8, 20),
            vessels=(rng.uniform(0, 6.28), rng.uniform(0, 6.28), rng.uniform(0, 6.28)),
        )

    @property
    def spine(self) -> float:
        """Position (y) of the middle of the vertebral bodies."""
        return -self.depth + self.fat + 50

    def depth_below_skin(self, points: Array) -> Array:
        """Distance from the skin in mm, about; negative outside the body.

        Args:
            points: positions, shape ``(3, *shape)``.

        Returns:
            Depths, shape ``shape``.
        """
        u, v = np.abs(points[0] / self.width), np.abs(points[1] / self.depth)
        rim = (u**self.square + v**self.square) ** np.float32(1 / self.square)
        return (1 - rim) * (self.depth + (self.width - self.depth) * np.square(np.minimum(u, 1)))

    def diaphragm(self, points: Array) -> Array:
        """Height (z) of the diaphragm above or below each point.

        Args:
            points: positions, shape ``(3, *shape)``.

        Returns:
            Heights, shape ``shape``.
        """
        x, y = points[0], points[1]
        right = 1 / (1 + np.exp(-x / 15))
        centre = 55 * (2 * right - 1)
        fall = np.square(x - centre) / 170 + np.square(y - 12) / 150
        return np.asarray(self.dome - self.dome_left * (1 - right) - fall, dtype=np.float32)

    def classify(self, moved: Array, fixed: Array) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Tissue of each point before any organ is put in, and where organs may be.

        Args:
            moved: positions at rest of the points, shape ``(3, *shape)``.
            fixed: the points themselves, which the chest wall and the spine are looked up at, same shape.

        Returns:
            Tissue numbers, and the cavity (without the spine and the muscles beside it), shape ``shape``.
        """
        x, y, z = fixed
        inside = self.depth_below_skin(fixed)
        tissue = np.full(x.shape, TISSUE["air"], np.uint8)
        tissue[inside > 0] = TISSUE["fat"]
        wall = inside > self.fat
        tissue[wall] = TISSUE["muscle"]
        middle = (inside - self.fat - self.muscle / 2) / (0.36 * self.muscle)
        # ribs fall towards the front; there are none in front of the belly
        rib = np.square(middle) < 1 - np.square(
            np.sin(np.pi * (z + 0.35 * y) / self.rib_distance + self.rib_phase) / 0.6
        )
        rib &= z > -95 - y
        tissue[rib] = TISSUE["marrow"]
        tissue[rib & (np.square(middle) > 0.3)] = TISSUE["bone"]
        sternum = (np.square(x / 17) + np.square((y - self.depth + self.fat + 6) / 6) < 1) & (z > 5)
        tissue[sternum & wall] = TISSUE["marrow"]

        behind = np.square(x / 52) + np.square((y - self.spine + 34) / 38) < 1
        psoas = np.clip(-(z + 70) / 90, 0, 1) * 17 + 4
        psoas = (np.hypot(np.abs(x) - 22 - psoas, (y - self.spine - 2) / 1.1) < psoas) & (z < -70)
        body = np.hypot(x / 22, (y - self.spine) / 17)
        cavity = (inside > self.fat + self.muscle) & ~behind & ~psoas & (body >= 1)

        height = moved[2] - self.diaphragm(moved)
        lung = cavity & (height > 0)
        tissue[cavity] = TISSUE["fat"]
        tissue[cavity & (height > -3)] = TISSUE["muscle"]
        tissue[lung] = TISSUE["lung"]
        where = np.flatnonzero(lung)
        if where.size:
            crossed = self._vessels(*(c.reshape(-1)[where] for c in moved))
            tissue.reshape(-1)[where[crossed]] = TISSUE["venous"]
        self._spine(tissue, fixed, body)
        return tissue, cavity

    def _spine(self, tissue: NDArray[np.uint8], fixed: Array, body: Array) -> None:
        """Vertebral bodies with discs, the canal and the processes, painted in place."""
        x, y, z = fixed
        rise = np.mod(z / 32 + self.disc_phase, 1)  # a vertebra every 32 mm
        disc = rise < 0.2
        back = y - self.spine
        tissue[body < 1] = TISSUE["bone"]
        tissue[(body < 0.86) & (rise > 0.25) & (rise < 0.95)] = TISSUE["marrow"]
        tissue[(body < 1) & disc] = TISSUE["muscle"]
        arch = (np.hypot(x / 17, (back + 25) / 14) < 1) & ~disc
        process = (np.abs(x) < 4) & (back < -32) & (back > -56) & ~disc
        across = (np.abs(x) < 36) & (np.abs(back + 24) < 4) & (np.abs(rise - 0.6) < 0.2)
        tissue[arch | process | across] = TISSUE["bone"]
        tissue[np.hypot(x / 11, (back + 25) / 8.5) < 1] = TISSUE["fluid"]

    def _vessels(self, p: Array, q: Array, h: Array) -> NDArray[np.bool_]:
        """Where the lungs have vessels: peaks of crossed waves, bent so that they make no lattice."""
        a, b, c = self.vessels
        wave = np.sin(p / 7 + 2.5 * np.sin(h / 23 + a)) * np.sin(q / 8 + 2.5 * np.sin(p / 29 + b))
        return np.asarray(wave * np.sin(h / 9 + 2.5 * np.sin(q / 21 + c)) > 0.80)
