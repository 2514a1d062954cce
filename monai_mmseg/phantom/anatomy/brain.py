# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A brain without its skull: folded cortex, ventricles, nuclei, cerebellum, stem, and a tumour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.label_sets import TUMOUR_LABELS
from monai_mmseg.phantom.anatomy.lattice import Lattice
from monai_mmseg.phantom.anatomy.solids import Canvas, Ellipsoid, Solid, Tube
from monai_mmseg.phantom.anatomy.tumour import Tumour
from monai_mmseg.phantom.brain_tables import BRAIN_TISSUES
from monai_mmseg.phantom.fields import SmoothField
from monai_mmseg.phantom.grid import rotation_matrix

TISSUE = {name: np.uint8(number) for number, name in enumerate(BRAIN_TISSUES)}

# Lattice on which folds and individual differences are worked out: it holds every brain and its motion.
START, STEP, SHAPE = (-84.0, -108.0, -84.0), 3.0, (57, 73, 57)
# Folds run inwards from the surface, to the middle of the hemisphere's white matter (mm, right side).
HEMISPHERE = (26.0, -4.0, 8.0)

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class BrainShape:
    """Shape of one subject's brain, drawn by :meth:`draw`; lengths in mm, origin in the middle of the cerebrum."""

    scale: NDArray[np.float64]  # size along the three axes
    warp: SmoothField  # how its form differs from the common one, three components
    folds: SmoothField  # a sulcus is where it is zero, seen from the middle of the hemisphere
    curl: SmoothField  # how sulci leave straight walls, three components
    reach: SmoothField  # how deep sulci are, relative to their mean
    bend: tuple[float, float]  # of the fissure between the hemispheres
    cortex: float  # thickness
    atrophy: float  # 0 young to 1 old: wide sulci and ventricles
    fluid: tuple[Solid, ...]  # ventricles and cisterns
    nuclei: tuple[Solid, ...]
    folia: tuple[float, float]  # number and phase of the cerebellum's furrows
    tumour: Tumour | None

    @classmethod
    def draw(cls, rng: np.random.Generator, *, tumour: Tumour | None = None) -> BrainShape:
        """Shape of a random subject.

        Args:
            rng: random generator.
            tumour: what grows in the brain.

        Returns:
            The shape.
        """
        atrophy = float(rng.uniform(0, 1))
        fluid: list[Solid] = [
            Ellipsoid((0, -8, 3), (1.8 + 2.0 * atrophy, 14, 11)),  # third ventricle
            Ellipsoid((0, -40, -38), (6, 5, 9)),  # fourth ventricle
            Ellipsoid((0, 6, -21), (9, 7, 6)),  # suprasellar cistern
            Ellipsoid((0, -38, -2), (9, 4, 5)),  # quadrigeminal cistern
        ]
        nuclei: list[Solid] = []
        for side in (-1, 1):
            size = (0.75 + 0.75 * atrophy) * rng.uniform(0.85, 1.2)
            fluid += _lateral_ventricle(rng, side, size)
            near = _jitter(rng, side, 1.0)
            nuclei += [
                Ellipsoid(near(13 + size, 20, 8), (5, 11, 8), rotation_matrix([0, 0, -side * 12.0])),
                Tube([near(14 + size, 12, 14), near(17 + size, -10, 21)], (4.5, 2.5)),
                Ellipsoid(near(25, 6, 1), (5, 16, 10), rotation_matrix([0, 0, side * 14.0])),
                Ellipsoid(near(11, -13, 6), (8, 14, 9), rotation_matrix([0, 0, side * 18.0])),
            ]
        return cls(
            scale=rng.uniform(0.94, 1.01) * (1 + 0.02 * rng.normal(size=3).clip(-1.3, 1.3)),
            warp=SmoothField(rng, components=3, sd=1.7, wavelength=80.0),
            folds=SmoothField(rng, wavelength=15.5, waves=60),
            curl=SmoothField(rng, components=3, sd=2.2, wavelength=26.0, waves=24),
            reach=SmoothField(rng, sd=0.35, wavelength=34.0, waves=24),
            bend=(float(rng.normal() * 1.2), float(rng.uniform(0, 2 * np.pi))),
            cortex=float(rng.uniform(2.7, 3.4)),
            atrophy=atrophy,
            fluid=tuple(fluid),
            nuclei=tuple(nuclei),
            folia=(float(rng.uniform(19, 23)), float(rng.uniform(0, 2 * np.pi))),
            tumour=tumour,
        )


def _jitter(rng: np.random.Generator, side: int, sd: float) -> Callable[[float, float, float], NDArray[np.float64]]:
    """Places on one side that differ a little between subjects."""

    def near(x: float, y: float, z: float) -> NDArray[np.float64]:
        return np.array([side * x, y, z]) + np.clip(rng.normal(size=3), -2, 2) * sd

    return near


def _lateral_ventricle(rng: np.random.Generator, side: int, size: float) -> list[Solid]:
    """Horns and body of the lateral ventricle of one side."""
    near = _jitter(rng, side, 0.8)
    trunk = near(20, -36, 11)
    return [
        Tube(
            [near(12, 32, 5), near(8, 20, 10), near(7, 2, 18), near(11, -20, 19), trunk],
            [r * size for r in (2.5, 4.5, 4.2, 4.2, 6.0)],
        ),
        Tube([trunk, near(23, -58, 6)], [6.0 * size, 1.5 * size]),
        Tube([trunk, near(32, -26, -12), near(30, -6, -20)], [5.0 * size, 2.6 * size, 2.2 * size]),
    ]


def _depth(
    points: Array, centre: tuple[float, float, float], radii: tuple[float | Array, ...], power: float = 2.0
) -> Array:
    """About how far below the surface of an ellipsoid (blunter with a higher power) points lie, mm; below 0 outside."""
    scaled = [np.abs(points[k] - np.float32(centre[k])) / radii[k] for k in range(3)]
    if power == 2:
        level = np.sqrt(sum(np.square(s) for s in scaled))
        slope = np.sqrt(sum(np.square(s / r) for s, r in zip(scaled, radii, strict=True)))
        return np.asarray(level * (1 - level) / np.maximum(slope, 1e-6), dtype=np.float32)
    level = np.maximum(sum(s**power for s in scaled) ** (1 / power), 1e-3)
    slope = np.sqrt(sum(np.square((s / level) ** (power - 1) / r) for s, r in zip(scaled, radii, strict=True)))
    return np.asarray((1 - level) / slope, dtype=np.float32)


def _cerebrum(points: Array) -> tuple[Array, Array]:
    """Depth below the dome, and below the hull of the cerebrum: the dome and temporal lobes above the tent."""
    x, y, z = points
    narrow = 1 + 0.0016 * np.clip(y + 15, 0, None)  # foreheads are narrower than the parietal bones
    hull = np.stack([x * narrow, y, z])
    dome = _depth(hull, (0, -2, 10), (67.0, 87.0, np.where(z > 10, 59.0, 38.0).astype(np.float32)), 2.25)
    temporal = _depth(np.stack([np.abs(x), y, z]), (39, -10, -22), (25.0, 44.0, 23.0))
    depth = np.maximum(dome, temporal)
    # behind, the cerebrum ends at the tent over the cerebellum
    return dome, np.minimum(depth, z - _tent(x) + 1.5 * np.clip(y + 30, 0, None)).astype(np.float32)


def _tent(x: Array) -> Array:
    return (-22 + 5 * np.exp(-np.square(x / 22))).astype(np.float32)


def _cerebellum(points: Array) -> Array:
    """Depth below the hull of the cerebellum."""
    x, y, z = points
    lobes = _depth(np.stack([np.abs(x), y, z]), (19, -58, -38), (34.0, 29.0, 26.0))
    vermis = _depth(points, (0, -56, -40), (12.0, 24.0, 22.0))
    return np.minimum(np.maximum(lobes, vermis), _tent(x) - 1.5 - z).astype(np.float32)


def _stem(points: Array) -> Array:
    """Depth below the surface of midbrain, pons and medulla."""
    x, y, z = points
    pons = _depth(points, (0, -20, -36), (17.0, 13.0, 14.0))
    axis_y = -22 - 0.12 * (z + 30)
    column = 11 + 5 * np.exp(-np.square((z + 8) / 9)) - np.hypot(x, y - axis_y)
    return np.maximum(pons, np.minimum(column, np.minimum(z + 64, 2 - z))).astype(np.float32)


class BrainAnatomy:
    """Tissues and labels of a brain.

    Args:
        shape: the brain.
    """

    num_labels = len(TUMOUR_LABELS)

    def __init__(self, shape: BrainShape) -> None:
        self.shape = shape
        points = Lattice.points(SHAPE, START, STEP)
        rest = points
        if shape.tumour is not None:
            # the skull holds: at the surface nothing moves
            inside = _depth(points, (0, 0, 6), (66.0, 86.0, 66.0)) / 25
            rest = points + np.clip(inside, 0, 1) * (shape.tumour.pull_back(points) - points)
        rest = rest + Lattice.of_field(shape.warp, SHAPE, START, STEP).rows.T.reshape(3, *SHAPE)
        rest = rest / shape.scale.astype(np.float32)[:, None, None, None]
        self.maps = Lattice(np.concatenate([rest, self._folds(rest)]), START, STEP)

    def _folds(self, rest: Array) -> Array:
        """Distance to the middle of the nearest sulcus (signed, mm) and depth that it reaches (mm)."""
        middle = np.array(HEMISPHERE, np.float32).reshape(3, 1, 1, 1)
        away = np.concatenate([np.abs(rest[:1]), rest[1:]]) - middle
        distance = np.maximum(np.sqrt(np.square(away).sum(0)), 1)
        # both hemispheres look up different places of one field; distances shrink to a shell, so that folds run inwards
        shell = away * (np.float32(48) / distance) ** np.float32(0.85) + middle
        shell[0] = np.where(rest[0] < 0, -shell[0], shell[0])
        shell += Lattice.of_field(self.shape.curl, SHAPE, START, STEP).rows.T.reshape(3, *SHAPE)
        flat = shell.reshape(3, -1)
        field = Lattice.of_field(self.shape.folds, SHAPE, START, STEP).at(flat).reshape(SHAPE)
        slope = np.sqrt(sum(np.square(g) for g in np.gradient(field, STEP)))
        signed = field / np.maximum(slope, 0.08)
        reach = Lattice.of_field(self.shape.reach, SHAPE, START, STEP).at(flat).reshape(SHAPE)
        return np.stack([np.clip(signed, -20, 20), 15 * np.clip(1 + reach, 0.35, 1.6)])

    def classify(
        self, moved: NDArray[np.float32], fixed: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Tissue number and label at each point.

        Args:
            moved: positions at rest of the points, mm, shape ``(3, *shape)``.
            fixed: not used: nothing around the brain is shown.

        Returns:
            Tissue numbers (places in ``BRAIN_TISSUES``) and values of ``TUMOUR_LABELS``, shape ``(*shape)``.
        """
        tissue = np.zeros(moved.shape[1:], np.uint8)
        label = np.zeros_like(tissue)
        box = np.array([82, 104, 82], np.float32).reshape(3, *(1,) * (moved.ndim - 1))
        near = np.flatnonzero(np.square(moved / box).sum(0) < 1)
        if near.size:
            points = moved.reshape(3, -1)[:, near]
            *rest, fold, reach = self.maps.at(points)
            canvas = Canvas(np.stack(rest), np.zeros(near.size, np.uint8))
            self._matter(canvas, fold, reach)
            if self.shape.tumour is not None and canvas.tissue.any():
                self._lesion(canvas, points, self.shape.tumour)
            tissue.reshape(-1)[near], label.reshape(-1)[near] = canvas.tissue, canvas.label
        return tissue, label

    def _matter(self, canvas: Canvas, fold: Array, reach: Array) -> None:
        """All tissue of a healthy brain."""
        points = canvas.points
        dome, hull = _cerebrum(points)
        small, stem = _cerebellum(points), _stem(points)
        canvas.tissue[dome > 1] = TISSUE["csf"]
        big = np.flatnonzero(hull > np.maximum(0, small))
        canvas.paint(big, self._cortex(points[:, big], hull[big], np.abs(fold[big]), reach[big]))
        trunk = np.flatnonzero((stem > 0) & ~((hull > 6) & (points[2] > -12)))
        canvas.paint(trunk, np.where(stem[trunk] > 1.2, TISSUE["white"], TISSUE["csf"]))
        behind = np.flatnonzero((small > 0) & (stem < 1.2))
        canvas.paint(behind, self._folia(points[:, behind], small[behind], fold[behind]))
        for solid in self.shape.nuclei:
            canvas.paint(canvas.inside(solid).index, TISSUE["nucleus"])
        for solid in self.shape.fluid:
            hits = canvas.inside(solid)
            canvas.paint(hits.index, TISSUE["csf"], where=canvas.tissue[hits.index] > 0)
        septum = np.flatnonzero((np.abs(points[0]) < 0.7) & (points[2] > 6) & (np.abs(points[1] - 8) < 26))
        canvas.paint(septum, TISSUE["white"], where=hull[septum] > 30)

    def _cortex(self, points: Array, hull: Array, fold: Array, reach: Array) -> NDArray[np.uint8]:
        """CSF, grey and white matter of the cerebrum."""
        s = self.shape
        x, y, z = points
        x = x + np.float32(s.bend[0]) * np.sin(y / 40 + np.float32(s.bend[1])) * np.clip(hull / 20, 0, 1)
        side = np.abs(x)
        # the hemispheres meet in the core: corpus callosum, nuclei and what is between
        core = _depth(points, (0, -10, 4), (30.0, 38.0, 23.0))
        cleft = np.hypot(side, np.clip(core, 0, None))
        surface = np.minimum(hull, cleft)
        # the lateral fissure, rising to the back, and the insula that it leads to
        wall = side - 39 + 0.012 * np.square(y - 2)
        insula = np.hypot(wall, np.clip(-_depth(points, (38, 2, 2), (1e3, 21, 15)), 0, None))
        slant = 0.85 * (z + 3) + 0.5 * y + 2.5 * np.sin(side / 5 + np.float32(s.bend[1]))
        lateral = np.hypot(slant, np.hypot(np.clip(-wall, 0, None), np.clip(np.abs(y) - 32, 0, None)))
        # a sulcus ends in grey matter that goes around its bottom; none reaches the insula and what is behind it
        inner = _depth(points, (0, -4, 4), (44.0, 58.0, 32.0))
        deepest = np.minimum(reach, np.clip(surface - np.clip(inner, 0, None), 0, None))
        sulcus = np.hypot(fold, np.clip(surface - deepest, 0, None))
        wide = 0.4 + 0.7 * s.atrophy
        gap = np.minimum(sulcus - wide * np.clip(1.5 - surface / 18, 0.6, None), cleft - 0.9 * wide)
        gap = np.minimum(gap, np.minimum(insula, lateral) - wide - 0.4)
        gap = np.minimum(gap, hull - 0.8 - 0.8 * s.atrophy)
        return np.where(gap < 0, TISSUE["csf"], np.where(gap < s.cortex, TISSUE["grey"], TISSUE["white"]))

    def _folia(self, points: Array, depth: Array, fold: Array) -> NDArray[np.uint8]:
        """Leaves of the cerebellum around its white matter."""
        number, phase = self.shape.folia
        angle = np.arctan2(points[2] + 40, -(points[1] + 36))
        wave = np.sin(number * angle + 0.12 * fold + phase + 0.03 * np.abs(points[0]))
        leaf = np.where((wave > 0.9) & (depth > 4), TISSUE["white"], TISSUE["grey"])
        leaf = np.where((wave < -0.80 - 0.02 * depth) & (depth < 9), TISSUE["csf"], leaf)
        leaf = np.where(depth < 0.8, TISSUE["csf"], leaf)
        return np.where(depth > 15, TISSUE["white"], leaf)

    @staticmethod
    def _lesion(canvas: Canvas, points: Array, tumour: Tumour) -> None:
        """Paint the tumour on the brain that it has pushed aside."""
        offset = points - tumour.centre.astype(np.float32)[:, None]
        near = np.flatnonzero((np.square(offset).sum(0) < tumour.reach**2) & (canvas.tissue > 0))
        near = near[tumour.side * canvas.points[0, near] > -1]
        if not near.size:
            return
        levels = tumour.levels(points[:, near])
        white = canvas.tissue[near] == TISSUE["white"]
        canvas.paint(near, TISSUE["oedema"], 2, where=(levels.oedema < 1) & white)
        canvas.paint(near, TISSUE["enhancing"], 3, where=levels.core < 1)
        canvas.paint(near, TISSUE["necrosis"], 1, where=(levels.necrosis < 1) & (levels.core < 1))
