# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The organs of the upper abdomen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.label_sets import ABDOMEN_LABELS
from monai_mmseg.phantom.anatomy.solids import Canvas, Ellipsoid, Hits, Tube
from monai_mmseg.phantom.anatomy.torso import TISSUE, Torso
from monai_mmseg.phantom.grid import rotation_matrix

"""Label values. Vessels and lesions in the liver are liver; the fat and fluid in a kidney's hilum are background."""

Path = Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class Kidney:
    """A kidney with its hilum, and the pattern of its pyramids."""

    body: Ellipsoid
    hilum: Ellipsoid
    pyramids: tuple[float, float]  # phases along and around


@dataclass(frozen=True)
class AbdomenShape:
    """Shape of one subject's organs, drawn by :meth:`draw`."""

    liver: tuple[Ellipsoid, Ellipsoid, Ellipsoid]  # right lobe, left lobe and what is cut out below
    liver_vessels: tuple[Tube, ...]
    lesions: tuple[Ellipsoid, ...]
    kidneys: tuple[Kidney, Kidney]  # right, left
    spleen: tuple[Ellipsoid, Ellipsoid]  # the organ and what is cut out on its inner side
    stomach: tuple[Tube, Ellipsoid]
    gas_level: float  # gas in front of this (y)
    gallbladder: Ellipsoid
    pancreas: Tube
    arteries: tuple[Tube, ...]
    veins: tuple[Tube, ...]
    colon: tuple[Tube, ...]
    bowel: tuple[float, float, float]  # phases of the pattern of the loops
    heart: Ellipsoid

    @classmethod
    def draw(cls, rng: np.random.Generator, torso: Torso) -> AbdomenShape:
        """Shape of a random subject.

        Args:
            rng: random generator.
            torso: the subject's trunk.

        Returns:
            The shape.
        """
        wide, deep = torso.width / 164, torso.depth / 114
        top, back = torso.dome, torso.spine

        def near(x: float, y: float, z: float, sd: float = 3.0) -> NDArray[np.float64]:
            """A point that differs between subjects; y is the distance from the spine, z that below the dome."""
            return np.array([x * wide, back + y * deep, top + z]) + rng.normal(size=3) * sd

        def tube(path: Path, radii: Sequence[float], sd: float = 2.0) -> Tube:
            return Tube(
                [near(*point, sd).tolist() for point in path], (np.array(radii) * rng.uniform(0.88, 1.12)).tolist()
            )

        liver, spleen = rng.uniform(0.76, 1.06), rng.uniform(0.74, 1.2)
        left_lobe = rng.uniform(0.7, 1.25)
        porta = near(22, 62, -92)
        branches = [
            porta + rng.normal(size=3) * 6 + np.array(way) for way in ((48, -6, 18), (30, -34, 2), (-30, 28, 22))
        ]
        hepatic = [
            np.array([20.0, back + 34, top - 28]) + np.array(way)
            for way in ((55, 8, -34), (18, 40, -30), (-34, 44, -18))
        ]
        liver_vessels = [Tube([porta.tolist(), end.tolist()], (7, 3)) for end in branches]
        liver_vessels += [
            Tube([(20.0, back + 34, top - 28), (end + rng.normal(size=3) * 6).tolist()], (6, 2.5)) for end in hepatic
        ]
        return cls(
            liver=(
                Ellipsoid(near(72, 58, -78), liver * np.array([74, 76, 82]), rotation_matrix([0, rng.normal(8, 4), 0])),
                Ellipsoid(
                    near(-2, 98, -50), left_lobe * np.array([66, 32, 36]), rotation_matrix([0, rng.normal(-12, 5), 12])
                ),
                Ellipsoid(near(8, 58, -150, 5), (52, 58, 62 * rng.uniform(0.85, 1.1))),
            ),
            liver_vessels=tuple(liver_vessels),
            lesions=tuple(
                Ellipsoid(near(75, 60, -70, 26), rng.uniform(4, 13, 3))
                for _ in range(int(rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])))
            ),
            kidneys=(_draw_kidney(rng, near(64, 8, -142, 5), 1), _draw_kidney(rng, near(-64, 10, -126, 5), -1)),
            spleen=(
                Ellipsoid(
                    near(-98, 28, -66, 4),
                    spleen * np.array([34, 50, 52]),
                    rotation_matrix([rng.normal(20, 8), rng.normal(0, 6), -24]),
                ),
                Ellipsoid(near(-58, 52, -82, 5), (40, 44, 62)),
            ),
            stomach=(
                tube(
                    ((-62, 66, -44), (-66, 78, -70), (-50, 100, -104), (-12, 106, -128), (22, 84, -118)),
                    (30, 31, 25, 18, 11),
                    5,
                ),
                Ellipsoid(near(-60, 66, -46), (36, 36, 30)),
            ),
            gas_level=back + rng.uniform(88, 125) * deep,
            gallbladder=Ellipsoid(
                near(44, 92, -112, 5), rng.uniform([9, 9, 16], [17, 17, 30]), rotation_matrix([-25, 20, 0])
            ),
            pancreas=tube(
                ((30, 58, -132), (22, 62, -118), (-8, 66, -108), (-44, 44, -98), (-74, 32, -88)), (15, 13, 10, 10, 8), 4
            ),
            arteries=(
                tube(((-16, 30, 60), (-12, 31, -60), (-8, 32, -160), (-6, 33, -300)), (11.5, 11, 9.5, 8.5)),
                tube(((-8, 32, -116), (-40, 22, -128), (-58, 12, -128)), (3.5, 3, 3)),
            ),
            veins=(
                tube(((30, 42, 60), (24, 36, -20), (20, 32, -110), (16, 30, -300)), (12.5, 13, 11.5, 10.5)),
                Tube([near(8, 62, -122).tolist(), porta.tolist()], (7.5, 7.5)),
                tube(((8, 60, -116), (-40, 40, -94), (-76, 28, -82)), (5, 5, 4.5)),
                tube(((60, 14, -142), (20, 32, -136)), (4, 4.5)),
            ),
            colon=(
                tube(((96, 40, -290), (100, 38, -210), (96, 58, -168), (84, 84, -160)), (24, 24, 22, 19), 5),
                tube(
                    ((84, 84, -160), (40, 108, -176), (-20, 112, -168), (-72, 96, -132), (-96, 52, -112)),
                    (19, 17, 17, 18, 17),
                    6,
                ),
                tube(((-96, 52, -112), (-106, 30, -140), (-104, 34, -290)), (16, 15, 15), 4),
            ),
            bowel=(rng.uniform(0, 6.28), rng.uniform(0, 6.28), rng.uniform(0, 6.28)),
            heart=Ellipsoid(near(-28, 92, 22), (62, 42, 38), rotation_matrix([0, 0, -30])),
        )


def _draw_kidney(rng: np.random.Generator, centre: NDArray[np.float64], side: int) -> Kidney:
    """Kidney on the right (``side`` 1) or the left (-1): upper pole and hilum towards the middle."""
    size = rng.uniform(0.84, 1.12)
    turn = rotation_matrix([rng.normal(-8, 4), 0, 0]) @ rotation_matrix([0, side * rng.normal(-14, 5), 0])
    turn = turn @ rotation_matrix([0, 0, -side * rng.normal(35, 8)])
    hilum = centre + turn @ np.array([-side * 21 * size, 0, 0])
    return Kidney(
        Ellipsoid(centre, size * rng.uniform([24, 25, 48], [29, 31, 57]), turn),
        Ellipsoid(hilum, size * rng.uniform([13, 8, 18], [19, 12, 26]), turn),
        (float(rng.uniform(0, 6.28)), float(rng.uniform(0, 6.28))),
    )


class AbdomenAnatomy:
    """Tissues and labels of the upper abdomen.

    Args:
        shape: the organs.
        torso: what they lie in.
    """

    num_labels = len(ABDOMEN_LABELS)

    def __init__(self, shape: AbdomenShape, torso: Torso) -> None:
        self.shape, self.torso = shape, torso

    def classify(
        self, moved: NDArray[np.float32], fixed: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Tissue number and label at each point.

        Args:
            moved: positions at rest of the points, mm, shape ``(3, *shape)``.
            fixed: the points themselves, where the wall and the spine are looked up, same shape.

        Returns:
            Tissue numbers (places in ``BODY_TISSUES``) and values of ``ABDOMEN_LABELS``, shape ``(*shape)``.
        """
        tissue, cavity = self.torso.classify(moved, fixed)
        label = np.zeros_like(tissue)
        above = (moved[2] > self.torso.diaphragm(moved) - 3) & cavity
        under = cavity & ~above
        for where, painters in (
            (np.flatnonzero(above), (self._chest,)),
            (np.flatnonzero(under), (self._bowel, self._tubes, self._solid_organs, self._vessels)),
        ):
            if where.size:
                canvas = Canvas(moved.reshape(3, -1)[:, where], tissue.reshape(-1)[where])
                for paint in painters:
                    paint(canvas)
                tissue.reshape(-1)[where], label.reshape(-1)[where] = canvas.tissue, canvas.label
        return tissue, label

    def _chest(self, canvas: Canvas) -> None:
        """What of the chest the upper slices show: the heart and the vessels."""
        heart = canvas.inside(self.shape.heart)
        canvas.paint(heart.index, np.where(heart.level < 0.8, TISSUE["venous"], TISSUE["myocardium"]))
        self._vessels(canvas)

    def _vessels(self, canvas: Canvas) -> None:
        """Aorta, vena cava and their branches outside the organs."""
        for tissue, tubes in (("venous", self.shape.veins), ("blood", self.shape.arteries)):
            for tube in tubes:
                hits = canvas.inside(tube)
                canvas.paint(hits.index, TISSUE[tissue], where=canvas.label[hits.index] == 0)

    def _bowel(self, canvas: Canvas) -> None:
        """Loops of small bowel below the stomach, in fat."""
        a, b, c = self.shape.bowel
        x, y, z = canvas.points
        low = np.flatnonzero((z < self.torso.dome - 118) & (y > self.torso.spine + 26))
        x, y, z = canvas.points[:, low] / np.float32(13)
        loops = np.sin(x + 1.6 * np.sin(0.55 * z + a)) + np.sin(y + 1.6 * np.sin(0.5 * x + b))
        loops = np.abs(loops + np.sin(z + 1.6 * np.sin(0.5 * y + c)))
        kind = np.sin(0.4 * x + c) + np.sin(0.3 * z + a)
        inner = np.where(kind > 1.1, TISSUE["gas"], np.where(kind > -0.6, TISSUE["content"], TISSUE["wall"]))
        tissue = np.where(loops < 0.75, inner, TISSUE["wall"])
        canvas.paint(low, tissue, where=loops < 1.25)

    def _tubes(self, canvas: Canvas) -> None:
        """Colon, pancreas, stomach and gallbladder."""
        s = self.shape
        a, b, _ = s.bowel
        for tube in s.colon:
            hits = canvas.inside(tube)
            mix = np.sin(hits.points[2] / 9 + a) + np.sin(hits.points[0] / 11 + b) + hits.points[1] / 40
            full = np.where(mix > 0.6 + self.torso.spine / 40 + 1.2, TISSUE["gas"], TISSUE["content"])
            canvas.paint(hits.index, np.where(hits.level < 0.85, full, TISSUE["wall"]))
        lobules = canvas.inside(s.pancreas, 1.15)
        edge = 1 + 0.15 * np.sin(lobules.points[0] / 3) * np.sin(lobules.points[2] / 3.5)
        canvas.paint(lobules.index, TISSUE["pancreas"], where=lobules.level < edge)
        for limit, tissue in ((1.0, None), (0.86, "content")):
            for part in s.stomach:
                hits = canvas.inside(part, limit)
                gas = np.where(hits.points[1] > s.gas_level, TISSUE["gas"], TISSUE["content"])
                canvas.paint(hits.index, TISSUE["wall"] if tissue is None else gas)
        canvas.paint(canvas.inside(s.gallbladder).index, TISSUE["fluid"])

    def _solid_organs(self, canvas: Canvas) -> None:
        """The labelled organs."""
        s = self.shape
        right, left, below = s.liver
        cut = canvas.inside(below)
        kept = np.ones(canvas.tissue.size, bool)
        kept[cut.index] = False
        for part, bound in ((right, kept), (left, None)):
            hits = canvas.inside(part)
            free = (hits.points[1] > self.torso.spine + 8) | (hits.points[0] > 30)
            free &= canvas.tissue[hits.index] != TISSUE["fluid"]
            canvas.paint(hits.index, TISSUE["liver"], 1, where=free if bound is None else free & bound[hits.index])
        for inside, tissue in ((s.liver_vessels, "venous"), (s.lesions, "lesion")):
            for solid in inside:
                hits = canvas.inside(solid)
                canvas.paint(hits.index, TISSUE[tissue], 1, where=canvas.label[hits.index] == 1)
        spleen, hollow = s.spleen
        cut = canvas.inside(hollow)
        kept = np.ones(canvas.tissue.size, bool)
        kept[cut.index] = False
        hits = canvas.inside(spleen)
        canvas.paint(hits.index, TISSUE["spleen"], 4, where=kept[hits.index] & (canvas.label[hits.index] == 0))
        for value, kidney in ((2, s.kidneys[0]), (3, s.kidneys[1])):
            self._kidney(canvas, kidney, value)

    @staticmethod
    def _kidney(canvas: Canvas, kidney: Kidney, value: int) -> None:
        """Cortex, pyramids and the fat around and in the hilum."""
        capsule = canvas.inside(kidney.body, 1.16)
        canvas.paint(capsule.index, TISSUE["fat"])
        hits: Hits = canvas.inside(kidney.body)
        offset = kidney.body.axes.T @ (hits.points.astype(float) - np.asarray(kidney.body.centre)[:, None])
        along, around = kidney.pyramids
        angle = np.arctan2(offset[1], offset[0])
        pyramid = np.cos(offset[2] / 4.5 + along) + np.cos(4 * angle + around)
        medulla = (hits.level < 0.74) & (pyramid > -0.7)
        canvas.paint(hits.index, np.where(medulla, TISSUE["medulla"], TISSUE["cortex"]), value)
        sinus = canvas.inside(kidney.hilum)
        inner = sinus.level < 0.45
        canvas.paint(sinus.index, np.where(inner, TISSUE["fluid"], TISSUE["fat"]))
