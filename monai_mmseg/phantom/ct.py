# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a CT scanner makes of tissues: Hounsfield units with noise and streaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.scanner import smooth_noise

VIEWS = 24
"""Directions that streaks run in."""


def streaks(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Straight lines across each slice, as back-projected noise makes them, with unit standard deviation.

    Args:
        rng: random generator.
        shape: shape of the volume, slices along the last axis.

    Returns:
        Noise of the given shape.
    """
    i, j = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape[:2]), indexing="ij")
    bins = int(np.ceil(np.hypot(*shape[:2]))) + 2
    total = np.zeros(shape, np.float32)
    for angle in np.pi * (np.arange(VIEWS) + rng.uniform()) / VIEWS:
        profile = rng.standard_normal((bins, shape[2]), dtype=np.float32)
        # a body is wider than deep: rays from side to side (constant second coordinate) lose most photons
        weight = 0.3 + abs(np.cos(angle)) ** 4
        place = i * np.sin(angle) + j * np.cos(angle) + (bins - 1) / 2
        total += weight * profile[np.rint(place).astype(np.intp)]
    return np.asarray(total / max(float(total.std()), 1e-6), dtype=np.float32)


def acquire_ct(
    rng: np.random.Generator,
    signal: NDArray[np.float32],
    *,
    noise_sd: float,
    texture_sd: float,
    texture_width: float = 1.0,
    streak_share: float = 0.4,
) -> NDArray[np.int16]:
    """Turn densities into Hounsfield units.

    Args:
        rng: random generator.
        signal: density, ``1 + HU / 1000`` (air 0, water 1), shape ``(X, Y, Z)``.
        noise_sd: standard deviation of noise and streaks together, in the same unit.
        texture_sd: relative standard deviation of the texture.
        texture_width: width of the texture in voxels.
        streak_share: share of the noise's variance that is streaks.

    Returns:
        Image in HU, from -1024 to 3071.

    Examples:
        >>> water = np.ones((8, 8, 2), np.float32)
        >>> int(acquire_ct(np.random.default_rng(0), water, noise_sd=0.0, texture_sd=0.0).max())
        0
    """
    textured = signal * (1 + texture_sd * smooth_noise(rng, signal.shape, texture_width))
    noise = np.sqrt(1 - streak_share) * smooth_noise(rng, signal.shape, 0.4)
    noise += np.sqrt(streak_share) * streaks(rng, signal.shape)
    # away from the body there is less to absorb photons, and less noise
    noise *= noise_sd * (0.5 + 0.5 * np.clip(signal, 0, 1))
    return np.asarray(np.clip(np.rint(1000 * (textured + noise - 1)), -1024, 3071), dtype=np.int16)
