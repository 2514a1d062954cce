# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A heart with its atria and great vessels, in the chest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.label_sets import CARDIAC_LABELS
from monai_mmseg.phantom.anatomy.heart import HeartShape, Ventricles
from monai_mmseg.phantom.anatomy.solids import Canvas, Ellipsoid, Solid, Tube
from monai_mmseg.phantom.anatomy.torso import TISSUE, Torso

"""Label values; both blood labels are cavities without their walls, papillary muscles belong to the LV blood."""

# Vessels as offsets (mm) from the middle of the mitral plane of a heart of usual size: path and radii.
VESSELS: dict[str, tuple[tuple[tuple[float, float, float], ...], tuple[float, ...]]] = {
    "ascending": (((4, 7, 9), (13, 7, 23), (17, 9, 36), (19, 7, 52), (17, 0, 66)), (11.5, 15.5, 14, 14, 13.5)),
    "arch": (((17, 0, 66), (9, -14, 77), (-1, -31, 78), (-13, -50, 64)), (13.5, 13, 12, 12)),
    "pulmonary": (((-6, 29, 28), (-14, 19, 46), (-13, -2, 56)), (12.5, 13, 12)),
    "right pulmonary": (((-13, -2, 56), (8, -20, 50), (42, -24, 46)), (9, 9, 8)),
    "left pulmonary": (((-13, -2, 56), (-30, -22, 60), (-52, -34, 56)), (9, 9, 7)),
    "outflow": (((4, 31, 8), (-2, 30, 20), (-6, 29, 28)), (14, 13, 12.5)),
    "upper vena cava": (((47, 4, 95), (47, 2, 55), (46, 0, 20)), (9, 9, 10)),
    "lower vena cava": (((42, -18, -110), (46, -4, -12)), (12, 13)),
    "vein 1": (((30, -23, 10), (62, -30, 16)), (7, 5)),
    "vein 2": (((30, -25, -2), (60, -34, -9)), (7, 5)),
    "vein 3": (((2, -25, 13), (-34, -36, 22)), (7, 5)),
    "vein 4": (((2, -27, 2), (-32, -40, -5)), (7, 5)),
    "trachea": (((17, -32, 130), (16, -35, 72)), (8.5, 8)),
    "right bronchus": (((16, -35, 72), (40, -38, 48)), (7, 5)),
    "left bronchus": (((16, -35, 72), (-16, -39, 52)), (6.5, 5)),
}


@dataclass(frozen=True)
class CardiacShape:
    """Shape of one subject's heart, vessels and neighbours, drawn by :meth:`draw`."""

    heart: HeartShape
    vessels: dict[str, Tube]
    atrium: tuple[float, float, float]  # radii of the left atrium relative to the ventricle's
    right_atrium: float
    appendage: tuple[float, float, float]  # tip of the left atrium's appendage
    liver_edge: float  # how far (x) the liver reaches to the left
    stomach: Ellipsoid

    @classmethod
    def draw(cls, rng: np.random.Generator, torso: Torso) -> CardiacShape:
        """Shape of a random subject.

        Args:
            rng: random generator.
            torso: the subject's trunk.

        Returns:
            The shape.
        """
        drawn = HeartShape.draw(rng, scar_fraction=0.0)
        place = np.array([-42.0, torso.spine + 90, torso.dome + 24]) + rng.normal(size=3) * [4, 3, 4]
        shrink = rng.uniform(0.80, 1.0)
        heart = replace(
            drawn,
            centre=place,
            radius=drawn.radius * shrink,
            length=drawn.length * rng.uniform(0.84, 0.96),
            wall=drawn.wall * rng.uniform(0.75, 1.05),
        )
        mitral = place - heart.axes[:, 2] * heart.length / 2
        size = (heart.radius + heart.wall) / 32 * rng.uniform(0.94, 1.06)
        caliber = {"ascending": rng.uniform(0.82, 1.18), "other": rng.uniform(0.88, 1.12)}
        bend = {point: rng.normal(size=3) * 2.2 for path, _ in VESSELS.values() for point in path}
        vessels = {}
        for name, (path, radii) in VESSELS.items():
            points = [mitral + size * (np.array(point) + bend[point]) for point in path]
            scale = size * caliber.get(name, caliber["other"])
            vessels[name] = Tube([p.tolist() for p in points], [r * scale for r in radii])
        end = np.array(vessels["arch"].path[-1])
        vessels["descending"] = Tube(
            [end.tolist(), [-31.0, torso.spine + 15, end[2] - 25], [-26.0, torso.spine + 17, end[2] - 320]],
            [vessels["arch"].radii[-1], 12 * caliber["other"], 9 * caliber["other"]],
        )
        return cls(
            heart=heart,
            vessels=vessels,
            atrium=(rng.uniform(0.72, 0.90), rng.uniform(0.64, 0.78), rng.uniform(0.70, 0.84)),
            right_atrium=rng.uniform(0.9, 1.1),
            appendage=tuple((mitral + size * (np.array([-16.0, 4.0, 19.0]) + rng.normal(size=3) * 2)).tolist()),
            liver_edge=rng.uniform(-75, -30),
            stomach=Ellipsoid(
                (rng.uniform(-80, -62), rng.uniform(5, 25), torso.dome - rng.uniform(42, 55)), (34, 38, 32)
            ),
        )


class CardiacAnatomy(Ventricles):
    """Tissues and labels of a whole heart in its chest.

    Args:
        shape: heart and vessels.
        torso: what is around them.
        phase: cardiac phase, 0 is end-diastole and 1 end-systole.
    """

    num_labels = len(CARDIAC_LABELS)

    def __init__(self, shape: CardiacShape, torso: Torso, phase: float = 0.0) -> None:
        super().__init__(shape.heart, phase)
        self.whole, self.torso = shape, torso

    def classify(
        self, moved: NDArray[np.float32], fixed: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Tissue number and label at each point.

        Args:
            moved: positions at rest of the points, mm, shape ``(3, *shape)``.
            fixed: the points themselves, where the chest wall is looked up, same shape.

        Returns:
            Tissue numbers (places in ``BODY_TISSUES``) and values of ``CARDIAC_LABELS``, shape ``(*shape)``.
        """
        tissue, cavity = self.torso.classify(moved, fixed)
        label = np.zeros_like(tissue)
        where = np.flatnonzero(cavity)
        if where.size:
            canvas = Canvas(moved.reshape(3, -1)[:, where], tissue.reshape(-1)[where])
            self._neighbours(canvas)
            self._vessels_and_atria(canvas)
            self._ventricles(canvas)
            tissue.reshape(-1)[where], label.reshape(-1)[where] = canvas.tissue, canvas.label
        return tissue, label

    def _neighbours(self, canvas: Canvas) -> None:
        """Liver, stomach, and the fat between the lungs."""
        s, points = self.whole, canvas.points
        x, y, z = points
        under = np.flatnonzero(z < self.torso.diaphragm(points) - 3)
        canvas.paint(under, TISSUE["liver"], where=x[under] > s.liver_edge + 0.3 * y[under])
        stomach = canvas.inside(s.stomach)
        full = np.where(stomach.level < 0.88, TISSUE["content"], TISSUE["wall"])
        canvas.paint(stomach.index, full, where=np.isin(stomach.index, under))
        middle = self.origin[0] + 15
        between = np.hypot((x - middle + 4) / 35, (y - self.torso.spine - 55) / 78) < 1
        canvas.paint(np.flatnonzero(between & (z > self.torso.diaphragm(points))), TISSUE["fat"])
        food_pipe = Tube([(middle - 6, self.torso.spine + 23, 250), (middle - 8, self.torso.spine + 25, -60)], [6, 6])
        canvas.paint(canvas.inside(food_pipe).index, TISSUE["wall"])
        for name in ("trachea", "right bronchus", "left bronchus"):
            hits = canvas.inside(s.vessels[name])
            canvas.paint(hits.index, np.where(hits.level < 0.82, TISSUE["gas"], TISSUE["wall"]))

    def _vessels_and_atria(self, canvas: Canvas) -> None:
        """Everything above the base, the labelled parts last."""
        s, full = self.whole, self.radius + self.wall
        right = self._place((1.2 * full, 0.55 * full, -25.0), (0.70 * full, 0.82 * full, 27.0), s.right_atrium)
        left = self._place((-0.15 * full, 0.22 * full, -0.80 * full), tuple(full * r for r in s.atrium))
        for solid in (right, left):  # fat in the groove between atria and ventricles
            canvas.paint(canvas.inside(solid, 1.22).index, TISSUE["fat"])
        self._hollow(canvas, right, "venous", 1.08)
        for name in ("upper vena cava", "lower vena cava", "right pulmonary", "left pulmonary", "pulmonary"):
            self._hollow(canvas, s.vessels[name], "venous")
        for name in ("vein 1", "vein 2", "vein 3", "vein 4"):
            self._hollow(canvas, s.vessels[name], "blood")
        appendage = Tube([left.centre, s.appendage], [15 * full / 32, 7.5 * full / 32])
        chamber: Solid
        for chamber in (appendage, left):
            self._hollow(canvas, chamber, "blood", 1.09, label=2)
        for name in ("descending", "arch"):
            self._hollow(canvas, s.vessels[name], "blood", 1.12)
        self._hollow(canvas, s.vessels["ascending"], "blood", 1.12, label=4)

    def _place(self, centre: tuple[float, ...], radii: tuple[float, ...], scale: float = 1.0) -> Ellipsoid:
        """Ellipsoid given in the heart's own axes."""
        axes = self.shape.axes
        return Ellipsoid(self.origin + axes @ np.array(centre), scale * np.array(radii), axes)

    @staticmethod
    def _hollow(canvas: Canvas, solid: Solid, content: str, wall: float = 1.1, label: int = 0) -> None:
        """Paint a cavity, and its wall where the wall covers no blood."""
        hits = canvas.inside(solid, wall)
        filled = hits.level < 1
        covered = (canvas.tissue[hits.index] == TISSUE["blood"]) | (canvas.tissue[hits.index] == TISSUE["venous"])
        canvas.paint(hits.index, TISSUE["muscle"], where=~filled & ~covered)
        canvas.paint(hits.index, TISSUE[content], label, where=filled)

    def _ventricles(self, canvas: Canvas) -> None:
        """Both ventricles, their walls and fat."""
        s, outflow = self.shape, self.whole.vessels["outflow"]
        reach = self.length + s.apex_wall + 40
        near = canvas.within(s.centre - reach, s.centre + reach)
        if not near.size:
            return
        local = s.axes.T.astype(np.float32) @ (canvas.points[:, near] - self.origin.astype(np.float32)[:, None])
        full = self.radius + self.wall
        close = (local[2] > -10) & (local[2] < self.length + s.apex_wall + 8) & (np.abs(local[1]) < 1.5 * full)
        close &= (local[0] > -1.4 * full) & (local[0] < 2.4 * full)
        near = near[close]
        u, v, w = local[:, close]
        height = w / self.length
        u = u - s.bend[0] * height * (height - 1)
        v = v - s.bend[1] * height * (height - 1)
        r = np.hypot(u, v)
        turn = (u + 1j * v) / np.maximum(r, np.float32(1e-3))
        inner, outer = self._radii(height, w, turn)
        below = w >= 0
        lv, wall = below & (r < inner), below & (r < outer)
        rv, rv_wall, rv_fat = self._right_ventricle(u, v, w)
        free = canvas.label[near] == 0
        fat = (w > 0) & (w < self.length + s.apex_wall) & (r < outer + s.fat * (0.6 + 0.5 * turn.real)) & (outer > 0)
        lungs = canvas.tissue[near] == TISSUE["lung"]
        canvas.paint(near, TISSUE["fat"], where=(fat | rv_fat) & lungs)
        canvas.paint(near, TISSUE["myocardium"], where=rv_wall & free & (w > 0))
        canvas.paint(near, TISSUE["venous"], where=rv & free)
        self._hollow(canvas, outflow, "venous")
        # the aortic root opens into the cavity: its label wins above the base, the ventricle's below
        canvas.paint(near, TISSUE["myocardium"], 1, where=wall)
        canvas.paint(near, TISSUE["blood"], 3, where=lv)
        muscle = self._ridges(np.flatnonzero(lv), turn, r, height, inner)
        canvas.paint(near[muscle], TISSUE["myocardium"], 3)
