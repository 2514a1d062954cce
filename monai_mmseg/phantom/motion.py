# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Motion between and within acquisitions: what a label copied from another modality gets wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.fields import SmoothField
from monai_mmseg.phantom.grid import Plane, rotation_matrix


@dataclass(frozen=True)
class MotionModel:
    """How far, and how differently from subject to subject, organs move before a modality is acquired.

    Args:
        drift: displacement common to all subjects in patient space (right, anterior, superior), mm. Breath holds at
            another depth give one; unlike a random shift it does not average out over subjects.
        twist: rotation common to all subjects about the normal of the slices, degrees.
        phase: mean cardiac phase, from 0 (end-diastole) to 1 (end-systole).
        shift: smallest and largest random in-plane shift in mm. A range, not a Gaussian: it gives all subjects about
            the same difficulty.
        through: largest random through-plane shift, mm.
        rotation_sd: standard deviation of the random rotation about the normal, degrees; a third of it acts about
            the in-plane axes.
        phase_sd: standard deviation of the cardiac phase between subjects.
        field_sd: standard deviation of each component of the smooth non-rigid displacement, mm.
        field_wavelength: its wavelength, mm.
        jitter_sd: standard deviation of the in-plane shift of single slices, mm (one breath hold for each slice).
        jitter_through_sd: the same through-plane, mm.
    """

    drift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    twist: float = 0.0
    phase: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    through: float = 0.0
    rotation_sd: float = 0.0
    phase_sd: float = 0.0
    field_sd: float = 0.0
    field_wavelength: float = 90.0
    jitter_sd: float = 0.0
    jitter_through_sd: float = 0.0

    def draw(
        self,
        rng: np.random.Generator,
        *,
        centre: NDArray[np.floating],
        axes: NDArray[np.floating],
        slices: int,
        amount: float = 1.0,
    ) -> Motion:
        """Motion of one subject in one modality.

        Args:
            rng: random generator.
            centre: point that rotations turn about (mm), shape ``(3,)``.
            axes: unit vectors of the voxel axes as columns, slice normal last, shape ``(3, 3)``.
            slices: number of slices.
            amount: factor on every displacement, angle and on the phase; 0 switches motion off without changing what
                is drawn from ``rng``.

        Returns:
            The motion.
        """
        angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(*self.shift)
        local = np.array([size * np.cos(angle), size * np.sin(angle), rng.uniform(-1, 1) * self.through])
        turn = rng.normal(size=3) * self.rotation_sd * np.array([1 / 3, 1 / 3, 1]) + [0, 0, self.twist]
        phase = max(0.0, self.phase + float(rng.normal()) * self.phase_sd)
        field = SmoothField(rng, components=3, sd=self.field_sd * amount, wavelength=self.field_wavelength)
        jitter = rng.normal(size=(slices, 3)) * [self.jitter_sd, self.jitter_sd, self.jitter_through_sd]
        return Motion(
            translation=amount * (np.array(self.drift) + axes @ local),
            rotation=amount * (axes @ turn),
            centre=np.asarray(centre, dtype=float),
            phase=amount * phase,
            field=field,
            jitter=amount * (jitter @ axes.T),
        )


@dataclass(frozen=True)
class Motion:
    """Where the organs of one subject are while one modality is acquired.

    Args:
        translation: displacement in mm, shape ``(3,)``.
        rotation: rotation vector in degrees, shape ``(3,)``.
        centre: point that the rotation turns about, shape ``(3,)``.
        phase: cardiac phase.
        field: smooth displacement, three components.
        jitter: further displacement of each slice in mm, shape ``(slices, 3)``.
    """

    translation: NDArray[np.float64]
    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]
    phase: float
    field: SmoothField
    jitter: NDArray[np.float64]

    def pull_back(self, plane: Plane, index: int) -> NDArray[np.float32]:
        """Positions in the subject at rest of what is seen at the points of a slice.

        Args:
            plane: points in patient space.
            index: slice number, which chooses the breath hold.

        Returns:
            Positions in mm, shape ``(3, *plane.shape)``.
        """
        back = rotation_matrix(self.rotation).T
        origin = back @ (plane.origin - self.centre - self.translation - self.jitter[index]) + self.centre
        rest = Plane(origin, back @ plane.step_i, back @ plane.step_j, plane.shape).points()
        rest -= self.field.on_plane(*plane)
        return rest

    def summary(self) -> dict[str, Any]:
        """The true motion as plain numbers, for the record beside the images."""
        return {
            "translation_mm": self.translation.round(4).tolist(),
            "rotation_deg": self.rotation.round(4).tolist(),
            "field_at_centre_mm": self.field.at(self.centre).round(4).tolist(),
            "slice_jitter_mm": self.jitter.round(4).tolist(),
            "phase": round(float(self.phase), 6),
        }
