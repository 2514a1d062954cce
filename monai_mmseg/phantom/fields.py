# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Smooth random fields that can be evaluated at any point in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class SmoothField:
    """Random vector field made of a few plane waves.

    A sum of waves has no grid, so one field serves volumes of any orientation and spacing, and on a plane of equally
    spaced points it is one small matrix product instead of a cosine for each point.

    Args:
        rng: random generator that the field is drawn from.
        components: number of values at each point (3 for a displacement).
        sd: standard deviation of each value over space and draws.
        wavelength: typical wavelength in mm; single waves lie between 0.8 and 1.6 of it.
        waves: number of waves; more of them come closer to a Gaussian field.

    Raises:
        ValueError: ``wavelength`` or ``waves`` is not positive, or ``sd`` is negative.

    Examples:
        >>> field = SmoothField(np.random.default_rng(0), components=3, sd=2.0, wavelength=90.0)
        >>> field.at(np.zeros((3, 5))).shape
        (3, 5)
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        components: int = 1,
        sd: float = 1.0,
        wavelength: float = 90.0,
        waves: int = 8,
    ) -> None:
        if wavelength <= 0 or waves < 1 or sd < 0:
            raise ValueError(
                f"wavelength and waves must be positive and sd not negative, got {wavelength}, {waves} and {sd}."
            )
        direction = rng.normal(size=(waves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = wavelength * rng.uniform(0.8, 1.6, size=(waves, 1))
        self.vectors: NDArray[np.float64] = 2 * np.pi * direction / length
        phase = rng.uniform(0, 2 * np.pi, size=(components, waves))
        # E[cos^2] = 1/2, hence the factor 2 that makes the variance of the sum sd^2
        size = rng.normal(size=(components, waves)) * sd * np.sqrt(2 / waves)
        self.amplitudes: NDArray[np.complex128] = size * np.exp(1j * phase)

    def at(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Field values at single points.

        Args:
            points: positions in mm, shape ``(3, *shape)``.

        Returns:
            Values of shape ``(components, *shape)``.
        """
        wave = np.exp(1j * np.tensordot(self.vectors, points, axes=(1, 0)))
        return np.asarray(np.real(np.tensordot(self.amplitudes, wave, axes=(1, 0))))

    def on_plane(
        self,
        origin: NDArray[np.floating],
        step_i: NDArray[np.floating],
        step_j: NDArray[np.floating],
        shape: tuple[int, int],
    ) -> NDArray[np.float32]:
        """Field values at ``origin + i * step_i + j * step_j``.

        Args:
            origin: position of the first point in mm, shape ``(3,)``.
            step_i: step along the first axis in mm, shape ``(3,)``.
            step_j: step along the second axis in mm, shape ``(3,)``.
            shape: number of points along the two axes.

        Returns:
            Values of shape ``(components, *shape)``.
        """
        if not self.amplitudes.any():
            return np.zeros((len(self.amplitudes), *shape), np.float32)
        along_i = np.exp(1j * np.outer(np.arange(shape[0]), self.vectors @ step_i))
        along_j = np.exp(1j * np.outer(self.vectors @ step_j, np.arange(shape[1])))
        start = self.amplitudes * np.exp(1j * (self.vectors @ origin))
        # the real part of the complex product, as one product of real matrices
        columns = np.concatenate([along_j.real, along_j.imag])
        field = np.empty((len(start), *shape), np.float32)
        for values, a in zip(field, start, strict=True):
            rows = along_i * a
            values[:] = np.concatenate([rows.real, -rows.imag], axis=1) @ columns
        return field
