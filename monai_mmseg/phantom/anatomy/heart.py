# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A beating heart: ventricles, atria, papillary muscles, scar and the fat around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.label_sets import HEART_LABELS
from monai_mmseg.phantom.anatomy.thorax import Thorax
from monai_mmseg.phantom.grid import rotation_matrix
from monai_mmseg.phantom.tissues import HEART_TISSUES

"""Label values. Scar is myocardium and papillary muscles are LV blood pool, as clinical contours have it."""

TISSUE = {name: np.uint8(number) for number, name in enumerate(HEART_TISSUES)}

# Cavity length, cavity radius and wall thickness (mm): a dilated heart with a thick wall, for small networks: on a
# 64 x 64 grid of 2.8 mm the radius is 7.7 to 9.5 pixels and the wall 3.4 to 4.5, enough to be learnt.
LENGTH, RADIUS, WALL = (80.0, 96.0), (21.5, 26.5), (9.5, 12.5)
# How much the long axis differs between subjects (degrees about each axis) and the heart's place in the chest (mm).
AXIS_SD, PLACE_SD = 7.0, (5.0, 4.0, 5.0)
# End-systole relative to end-diastole: a cavity radius 30 % and a length 12 % smaller.
SYSTOLE_RADIUS, SYSTOLE_LENGTH = 0.30, 0.12
# Farther from the middle of the heart than this (mm) nothing belongs to it.
REACH = 100.0

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scar:
    """Infarct: an ellipse on the wall (angle, height) that grows from the cavity outwards."""

    angle: float  # radians
    half_angle: float  # radians
    height: float  # fraction of the cavity's length
    half_height: float
    depth: float  # fraction of the wall, 1 is transmural


@dataclass(frozen=True)
class HeartShape:
    """Shape of one subject's heart at end-diastole, drawn by :meth:`draw`; lengths in mm.

    The heart has its own axes: u points from the LV to the RV, v to the diaphragm, w from base to apex; the origin is
    the middle of the mitral plane.
    """

    axes: NDArray[np.float64]  # unit vectors u, v, w as columns in patient space
    centre: NDArray[np.float64]  # middle of the LV's axis in patient space
    length: float  # of the LV cavity
    radius: float  # of the LV cavity at the base
    wall: float  # thickness at the base
    apex_wall: float
    bend: tuple[float, float]  # how far the axis leaves a straight line
    ripple: NDArray[np.complex128]  # relative change of the radius, harmonics 2 to 4, at base and apex: (2, 3)
    wall_ripple: NDArray[np.complex128]  # the same for the wall thickness, harmonics 1 and 2: (2,)
    rv_width: float  # relative to the LV's outer radius
    rv_height: float
    rv_tilt: float  # of the RV about the LV, radians
    papillary: NDArray[np.float64]  # angle, radius (mm), start and end height: (2, 4)
    fat: float  # thickness of the epicardial fat
    scar: Scar | None

    @classmethod
    def draw(cls, rng: np.random.Generator, *, scar_fraction: float = 0.6) -> HeartShape:
        """Shape of a random subject.

        Args:
            rng: random generator.
            scar_fraction: share of subjects that have a scar.

        Returns:
            The shape.
        """
        w = np.array([-0.64, 0.58, -0.50])  # apex to the left, front and below
        u = np.array([0.70, 0.70, 0.10])  # the RV lies to the right and in front
        w = w / np.linalg.norm(w)
        u = u - w * (u @ w)
        u = u / np.linalg.norm(u)
        axes = np.stack([u, np.cross(w, u), w], axis=1)
        ripple = (rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3))) * np.array([0.035, 0.018, 0.010])
        ripple[1] = ripple[0] + 0.6 * (ripple[1] - ripple[0])  # apex and base are alike
        wall_ripple = (rng.normal(size=2) + 1j * rng.normal(size=2)) * np.array([0.07, 0.05])
        papillary = np.stack(
            [
                np.radians([-125.0, 130.0]) + 0.2 * rng.normal(size=2),
                rng.uniform(3.5, 5.5, 2),
                rng.uniform(0.20, 0.32, 2),
                rng.uniform(0.68, 0.80, 2),
            ],
            axis=1,
        )
        # all numbers are drawn whether there is a scar or not, so that its share changes nothing else
        chance, where, width, height, tall, depth = rng.uniform(size=6)
        scar = Scar(
            angle=2 * np.pi * where,
            half_angle=np.radians(22 + 38 * width),
            height=0.2 + 0.6 * height,
            half_height=0.18 + 0.22 * tall,
            depth=0.45 + 0.6 * depth,
        )
        return cls(
            axes=rotation_matrix(rng.normal(size=3) * AXIS_SD) @ axes,
            centre=np.array([-45.0, 22.0, 0.0]) + rng.normal(size=3) * PLACE_SD,
            length=rng.uniform(*LENGTH),
            radius=rng.uniform(*RADIUS),
            wall=rng.uniform(*WALL),
            apex_wall=rng.uniform(6.0, 9.0),
            bend=(float(rng.normal() * 3), float(rng.normal() * 3)),
            ripple=ripple,
            wall_ripple=wall_ripple,
            rv_width=rng.uniform(0.70, 0.95),
            rv_height=rng.uniform(0.92, 1.08),
            rv_tilt=float(rng.normal() * 0.15),
            papillary=papillary,
            fat=rng.uniform(2.5, 5.0),
            scar=scar if chance < scar_fraction else None,
        )


class Ventricles:
    """Where the parts of both ventricles are at one cardiac phase, in the heart's own axes.

    Args:
        shape: the heart at end-diastole.
        phase: 0 is end-diastole, 1 end-systole; the volume of the myocardium is the same in all phases.
    """

    def __init__(self, shape: HeartShape, phase: float = 0.0) -> None:
        self.shape = shape
        self.radius = shape.radius * (1 - SYSTOLE_RADIUS * phase)
        self.length = shape.length * (1 - SYSTOLE_LENGTH * phase)
        area = ((shape.radius + shape.wall) ** 2 - shape.radius**2) * shape.length / self.length
        self.wall = float(np.sqrt(self.radius**2 + area)) - self.radius
        # the base descends to the apex, which stays
        self.origin = shape.centre + shape.axes[:, 2] * (shape.length / 2 - self.length)
        # farther than this from the LV's axis (mm) there is neither its wall nor its fat
        ripple, thick = 1 + np.abs(shape.ripple).max(0).sum(), 1 + np.abs(shape.wall_ripple).sum()
        outer = max(self.radius * ripple + self.wall * thick, (self.radius + self.wall) * thick)
        self.reach = 1.01 * float(outer + 2.2 * shape.fat)

    def _radii(self, height: Array, w: Array, turn: NDArray[np.complex64]) -> tuple[Array, Array]:
        """Inner and outer radius of the LV's wall in the direction of each point."""
        s = self.shape
        t = np.clip(height, 0, 1)
        squared = turn * turn
        powers = (squared, squared * turn, squared * squared)
        ripple = np.ones_like(t)
        for power, base, apex in zip(powers, s.ripple[0], s.ripple[1], strict=True):
            ripple += power.real * ((1 - t) * base.real + t * apex.real)
            ripple -= power.imag * ((1 - t) * base.imag + t * apex.imag)
        first, second = s.wall_ripple.astype(np.complex64)
        thick = 1 + (turn * first).real + (squared * second).real
        middle = self.radius * np.sqrt(np.clip(1 - t**2.4, 0, None))
        inner = middle * ripple
        end = np.clip(w / (self.length + s.apex_wall), 0, 1)
        smooth = (self.radius + self.wall) * np.sqrt(np.clip(1 - end**2.6, 0, None))
        return inner, np.maximum((smooth - middle) * thick, 0) + inner

    def _right_ventricle(self, u: Array, v: Array, w: Array) -> tuple[Mask, Mask, Mask]:
        """Cavity, wall and fat of the RV: a shrinking ellipse that the LV is cut out of."""
        s = self.shape
        full = self.radius + self.wall
        found = np.zeros((3, *w.shape), bool)
        maybe = np.flatnonzero((w > -6) & (w < 0.90 * self.length) & (u > -0.2 * full))
        u, v, w = u[maybe], v[maybe], w[maybe]
        end = np.clip(w, 0, None) / (0.90 * self.length)
        open_ = np.sqrt(np.clip(1 - end**2.2, 0, None))  # 1 at the base, 0 at the RV's own apex
        core = full * np.sqrt(np.clip(1 - (np.clip(w, 0, None) / (self.length + s.apex_wall)) ** 2.6, 0, None))
        cos, sin = np.cos(s.rv_tilt), np.sin(s.rv_tilt)
        a = core * (0.45 + s.rv_width * open_)
        b = core * s.rv_height * (0.45 + 0.55 * open_)
        along = (u * cos + v * sin - 0.55 * core) / np.maximum(a, 1)
        across = (v * cos - u * sin) / np.maximum(b, 1)
        distance = (np.hypot(along, across) - 1) * np.minimum(a, b)  # about mm
        present = (open_ > 0.05) & (u > -0.2 * core)
        for part, edge in zip(found, (-3, 0, s.fat * 1.4), strict=True):
            part[maybe] = present & (distance < edge)
        return found[0], found[1], found[2]

    def _ridges(
        self, lv: NDArray[np.intp], turn: NDArray[np.complex64], r: Array, height: Array, inner: Array
    ) -> NDArray[np.intp]:
        """Those places of the LV's cavity where papillary muscles and trabeculae are."""
        turn, r, height, inner = turn[lv], r[lv], height[lv], inner[lv]
        muscle = self._papillary(turn, r, height, inner)
        rim = np.flatnonzero(inner - r < 4.5)  # ridges are at most 4.4 mm high
        muscle[rim] |= self._trabeculae(turn[rim], r[rim], height[rim], inner[rim])
        return lv[muscle]

    def _papillary(self, turn: NDArray[np.complex64], r: Array, height: Array, inner: Array) -> Mask:
        """Where the two papillary muscles are."""
        found = np.zeros(r.shape, bool)
        for angle, radius, start, stop in self.shape.papillary:
            middle, half = (start + stop) / 2, (stop - start) / 2
            size = radius * np.sqrt(np.clip(1 - np.square((height - middle) / half), 0, None))
            direction = np.complex64(np.exp(1j * angle))
            distance = np.abs(r * turn - direction * np.maximum(inner - 1.15 * radius, 0))
            found |= distance < size
        return found

    @staticmethod
    def _trabeculae(turn: NDArray[np.complex64], r: Array, height: Array, inner: Array) -> Mask:
        """Small ridges of the inner wall towards the apex; labels run smoothly over them."""
        third = turn * turn * turn
        seventh = third * third * turn
        coarse = seventh * np.exp(np.complex64(7j) * height)
        fine = seventh * third * turn * np.exp(np.complex64(-9j) * height)
        ridge = (coarse + fine).real
        return np.asarray(inner - r < 2.2 * np.clip(height, 0, 1) * ridge)

    @staticmethod
    def _scar(scar: Scar, turn: NDArray[np.complex64], r: Array, height: Array, inner: Array, outer: Array) -> Mask:
        """Where the scar is; the caller cuts it to the wall."""
        away = np.abs(np.angle(turn * np.complex64(np.exp(-1j * scar.angle)))) / scar.half_angle
        spread = np.square(away) + np.square((height - scar.height) / scar.half_height)
        depth = (r - inner) / np.maximum(outer - inner, 1e-3)
        return np.asarray((spread < 1) & (depth < scar.depth * (1 - 0.5 * spread)))


class HeartAnatomy(Ventricles):
    """Tissues and labels of a heart in its thorax at one cardiac phase.

    Args:
        shape: the heart at end-diastole.
        thorax: what is around it.
        phase: see :class:`Ventricles`.
    """

    num_labels = len(HEART_LABELS)

    def __init__(self, shape: HeartShape, thorax: Thorax, phase: float = 0.0) -> None:
        super().__init__(shape, phase)
        self.thorax = thorax

    def classify(self, moved: Array, fixed: Array) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Tissue number and label at each point.

        Args:
            moved: positions at rest of the points, mm, shape ``(3, *shape)``.
            fixed: the points themselves, where the chest wall is looked up, same shape.

        Returns:
            Tissue numbers (places in ``HEART_TISSUES``) and labels, shape ``(*shape)``.
        """
        tissue = self.thorax.classify(moved, fixed)
        label = np.zeros(tissue.shape, np.uint8)
        centre = self.shape.centre.astype(np.float32).reshape(3, *(1,) * (moved.ndim - 1))
        away = moved - centre
        near = np.flatnonzero(np.square(away, out=away).sum(0) < REACH**2)
        if near.size:
            points = moved.reshape(3, -1).take(near, axis=1) - self.origin.astype(np.float32)[:, None]
            local = self.shape.axes.T.astype(np.float32) @ points
            close = self._in_box(*local)
            near, local = near[close], local.take(close, axis=1)
            around = tissue.reshape(-1)[near]
            tissue.reshape(-1)[near], label.reshape(-1)[near] = self._heart(local, around)
        return tissue, label

    def _in_box(self, u: Array, v: Array, w: Array) -> NDArray[np.intp]:
        """Places of points in a box around all parts of the heart; no part is cut."""
        s = self.shape
        full, edge = self.radius + self.wall, 1.4 * s.fat
        # half axes of the RV with its fat, whose middle is up to 0.55 of the LV's radius away
        a, b = (0.45 + s.rv_width) * full + 1.6 * edge, s.rv_height * full + 1.1 * edge
        cos, sin = abs(np.cos(s.rv_tilt)), abs(np.sin(s.rv_tilt))
        right = max(self.reach, 2.01 * full, 0.55 * full * cos + float(np.hypot(a * cos, b * sin)))
        side = max(self.reach, 1.22 * full, 0.5 * full + 15.5, 0.55 * full * sin + float(np.hypot(a * sin, b * cos)))
        left = max(self.reach, 1.11 * full)
        ends = np.array([w.min(), w.max()]) / self.length
        bend = max(0.25, *np.abs(ends * (ends - 1))) * np.abs(s.bend)
        found = (u > -left - bend[0]) & (u < right + bend[0]) & (np.abs(v) < side + bend[1])
        return np.flatnonzero(found & (w > -70) & (w < self.length + s.apex_wall))

    def _heart(self, local: Array, around: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Tissue and label at points of the heart's own axes, ``around`` where there is no heart."""
        s = self.shape
        u, v, w = local
        height = w / self.length
        u = u - s.bend[0] * height * (height - 1)
        v = v - s.bend[1] * height * (height - 1)
        rv, rv_wall, rv_fat = self._right_ventricle(u, v, w)
        atria, atria_wall = self._atria(u, v, w)

        # the LV, where it can be
        close = np.flatnonzero((np.abs(u) < self.reach) & (np.abs(v) < self.reach) & (w > -25))
        x, y, z, h = u[close], v[close], w[close], height[close]
        r = np.hypot(x, y)
        turn = (x + 1j * y) / np.maximum(r, np.float32(1e-3))
        inner, outer = self._radii(h, z, turn)
        lv = np.flatnonzero((z >= 0) & (r < inner))
        wall = np.flatnonzero((z >= 0) & (r < outer) & ~(r < inner))
        # fat is thick in the groove between atria and ventricles and beside the RV
        fat_edge = outer + s.fat * (0.5 + 0.5 * turn.real + 1.2 * np.exp(-np.square(h / 0.18)))
        fat = rv_fat
        fat[close[(z < self.length + s.apex_wall) & (r < fat_edge) & (outer > 0)]] = True
        rv[close[lv]] = rv[close[wall]] = rv_wall[close[lv]] = rv_wall[close[wall]] = False

        tissue = around.copy()
        label = np.zeros(around.shape, np.uint8)
        keep_out = (around == TISSUE["air"]) | (around == TISSUE["bone"])
        tissue[fat & ~keep_out] = TISSUE["fat"]
        tissue[atria_wall] = TISSUE["muscle"]
        tissue[atria] = TISSUE["blood"]
        tissue[rv_wall] = TISSUE["myocardium"]
        tissue[rv] = TISSUE["blood"]
        band = np.flatnonzero(rv & (np.abs(height - 0.62) < 0.06))
        inside = np.square((height[band] - 0.62) / 0.06)
        inside += np.square((v[band] - 0.25 * s.radius + 0.4 * u[band]) / 3.5)
        tissue[band[inside < 1]] = TISSUE["myocardium"]  # moderator band
        tissue[close[wall]] = TISSUE["myocardium"]
        tissue[close[lv]] = TISSUE["blood"]
        tissue[close[self._ridges(lv, turn, r, h, inner)]] = TISSUE["myocardium"]
        if s.scar is not None:
            scar = self._scar(s.scar, turn[wall], r[wall], h[wall], inner[wall], outer[wall])
            tissue[close[wall[scar]]] = TISSUE["scar"]
        label[rv & (w >= 0)] = 3
        label[close[wall]] = 2
        label[close[lv]] = 1
        return tissue, label

    def _atria(self, u: Array, v: Array, w: Array) -> tuple[Mask, Mask]:
        """Blood and wall of both atria and of the aortic root above the base."""
        full = self.radius + self.wall
        found = np.zeros((2, *u.shape), bool)
        above = np.flatnonzero((w < 0) & (w > -70))
        u, v, w = u[above], v[above], w[above]
        root = np.hypot(u - 0.45 * full, v + 0.50 * full)
        blood, wall = np.zeros(w.shape, bool), root < 15.5
        for centre, radii in (
            ((-0.15 * full, 0.15 * full, -30.0), (0.88 * full, 0.80 * full, 29.0)),
            ((1.25 * full, 0.35 * full, -33.0), (0.70 * full, 0.80 * full, 28.0)),
        ):
            offset = [(x - c) / q for x, c, q in zip((u, v, w), centre, radii, strict=True)]
            distance = np.sqrt(sum(np.square(x) for x in offset))
            blood |= distance < 1
            wall |= distance < 1.08
        found[0, above] = blood & (root > 15.5) | (root < 13.5)
        found[1, above] = wall
        return found[0], found[1]
