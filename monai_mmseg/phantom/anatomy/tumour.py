# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A glioma: necrosis, a rim that enhances, and oedema that spreads through white matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.fields import SmoothField

"""Label values; BraTS has 4 for the enhancing tumour."""

Array = NDArray[np.float32]


class TumourLevels(NamedTuple):
    """How far out in each part points lie: 0 in the middle, 1 at the surface."""

    core: Array  # (n,) necrosis and rim
    necrosis: Array  # (n,)
    oedema: Array  # (n,) where there is white matter


@dataclass(frozen=True)
class Tumour:
    """One tumour, drawn by :meth:`draw`; lengths in mm.

    Args:
        centre: its middle, shape ``(3,)``.
        side: 1 in the right hemisphere, -1 in the left one.
        stretch: the inverse of its half axes relative to ``radius``, turned to the patient's axes, shape ``(3, 3)``.
        radius: of necrosis and rim.
        rim: thickness of the rim relative to the radius.
        spread: how far oedema reaches, relative to the radius.
        pressure: how much of the tumour pushed brain aside, from 0 (it grew into it) to 0.5.
        edge: irregularity of core, necrosis and oedema, three components.
    """

    centre: NDArray[np.float64]
    side: int
    stretch: NDArray[np.float64]
    radius: float
    rim: float
    spread: float
    pressure: float
    edge: SmoothField

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tumour:
        """A random tumour in the white matter of one hemisphere.

        Args:
            rng: random generator.

        Returns:
            The tumour.
        """
        side = 1 if rng.uniform() < 0.5 else -1
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        return cls(
            centre=np.array([side * rng.uniform(24, 42), rng.uniform(-50, 45), rng.uniform(4, 40)]),
            side=side,
            stretch=turn @ np.diag(1 / rng.uniform(0.8, 1.25, 3)) @ turn.T,
            radius=rng.uniform(12.5, 19),
            rim=rng.uniform(0.24, 0.44),
            spread=rng.uniform(1.5, 2.1),
            pressure=rng.uniform(0.15, 0.5),
            edge=SmoothField(rng, components=3, wavelength=26.0, waves=16),
        )

    @property
    def reach(self) -> float:
        """Farther from the centre than this (mm) nothing belongs to the tumour."""
        return 2.0 * self.spread * self.radius

    def pull_back(self, points: Array) -> Array:
        """Where brain that the tumour has pushed aside was before.

        Args:
            points: positions in mm, shape ``(3, *shape)``.

        Returns:
            Positions in mm, same shape.
        """
        offset = points - self.centre.astype(np.float32).reshape(3, *(1,) * (points.ndim - 1))
        far = np.square(offset).sum(0) / np.float32(2 * (1.3 * self.radius) ** 2)
        return points - np.float32(self.pressure) * np.exp(-far) * offset

    def levels(self, points: Array) -> TumourLevels:
        """Levels of the parts.

        Args:
            points: positions in mm, shape ``(3, n)``.

        Returns:
            The levels.
        """
        core, inner, outer = np.clip(self.edge.at(points), -1.8, 1.8).astype(np.float32)
        offset = self.stretch.astype(np.float32) @ (points - self.centre.astype(np.float32)[:, None])
        distance = np.sqrt(np.square(offset).sum(0)) / np.float32(self.radius)
        level = distance / (1 + 0.16 * core)
        necrosis = level / np.clip(1 - self.rim * (1 + 0.35 * inner), 0.2, 0.85).astype(np.float32)
        return TumourLevels(level, necrosis, distance / (self.spread * (1 + 0.28 * outer)).astype(np.float32))
