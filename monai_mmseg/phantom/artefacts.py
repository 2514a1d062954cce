# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Artefacts of outlier cases: metal, low dose, motion, ghosts, noise and shading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.ct import acquire_ct
from monai_mmseg.phantom.grid import Grid
from monai_mmseg.phantom.scanner import acquire
from monai_mmseg.phantom.tissues import TissueTable

ARTEFACTS: dict[str, tuple[str, ...]] = {
    "ct": ("metal", "low_dose", "motion"),
    "mr": ("ghosts", "low_signal", "shading"),
}
"""Artefacts that outlier cases of each modality have, in turn."""


def metal_streaks(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing: Sequence[float], place: Sequence[float]
) -> NDArray[np.float32]:
    """What two metal screws add to a CT volume: bright screws, a dark band between them and a star of streaks.

    Args:
        rng: random generator.
        shape: shape of the volume, slices along the last axis.
        spacing: distance of voxel centres in mm.
        place: voxel index between the screws.

    Returns:
        Densities to add, shape ``shape``.
    """
    x, y, z = (spacing[axis] * (np.arange(shape[axis]) - place[axis]) for axis in range(3))
    plane = (x[:, None] + 1j * y[None, :]).astype(np.complex64)
    length = rng.uniform(35, 60)
    along = np.exp(-np.square(z / length)).astype(np.float32)
    gap = rng.uniform(16, 24)
    total = np.zeros(shape[:2], np.float32)
    for side in (-1, 1):
        away = plane - side * gap
        radius, angle = np.abs(away), np.angle(away)
        star = np.zeros_like(radius)
        for waves in rng.integers(4, 30, size=14):
            star += np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
        total += 0.06 * star * np.exp(-radius / 80) + 1.6 * (radius < max(4.5, 0.6 * spacing[0]))
    band = np.exp(-np.square(plane.imag / 9)) * np.exp(-np.square(plane.real / 80))
    total -= 0.45 * band * (np.abs(plane.real) > gap + 5) + 0.6 * band * (np.abs(plane.real) < gap - 4)
    wobble = 1 + 0.3 * rng.standard_normal(shape[2])
    return np.asarray(total[..., None] * along * wobble, dtype=np.float32)


def blur_motion(rng: np.random.Generator, signal: NDArray[np.float32], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Double contours of a patient who breathed or moved during the scan.

    Args:
        rng: random generator.
        signal: noise-free volume.
        spacing: distance of voxel centres in mm.

    Returns:
        Mean of the volume and a shifted copy of it.
    """
    angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(9, 14)
    shift = [round(size * np.cos(angle) / spacing[0]), round(size * np.sin(angle) / spacing[1])]
    return 0.65 * signal + 0.35 * np.roll(signal, shift, axis=(0, 1))


def ghosts(rng: np.random.Generator, signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Faint copies along the phase-encoding direction, as periodic motion leaves them.

    Args:
        rng: random generator.
        signal: noise-free volume; the second axis is the phase-encoding direction.

    Returns:
        The volume with its ghosts, never negative.
    """
    size = signal.shape[1]
    k = np.fft.fftfreq(size) * size
    periods = rng.uniform(3.5, 6.5)
    # a periodic error of phase and size over the lines of k-space puts copies `periods` to a field of view
    strength = rng.uniform(0.6, 0.9)
    wave = 2 * np.pi * k / size * round(size / periods)
    error = 1 + strength * np.cos(wave + rng.uniform(0, 2 * np.pi)) + 0.5j * strength * np.sin(2 * wave)
    spectrum = np.fft.fft(signal, axis=1) * error[None, :, None]
    return np.abs(np.fft.ifft(spectrum, axis=1)).astype(np.float32)


def scan(
    rng: np.random.Generator,
    modality: str,
    signal: NDArray[np.float32],
    grid: Grid,
    table: TissueTable,
    *,
    artefact: str | None = None,
    metal: Sequence[float] = (0.0, 0.0, 0.0),
) -> NDArray[np.int16]:
    """Image of noise-free signals, in the way of a modality.

    Args:
        rng: random generator.
        modality: ``"ct"`` (Hounsfield units) or ``"mr"`` (arbitrary units, not negative).
        signal: tissue signals, shape ``(X, Y, Z)``.
        grid: their voxels.
        table: noise and texture.
        artefact: one of :data:`ARTEFACTS` of the modality, by default none.
        metal: position in mm (RAS+) of metal.

    Returns:
        Image of the same shape.

    Raises:
        ValueError: unknown modality or artefact.
    """
    if modality not in ARTEFACTS:
        raise ValueError(f"modality must be one of {sorted(ARTEFACTS)}, got {modality!r}.")
    if artefact is not None and artefact not in ARTEFACTS[modality]:
        raise ValueError(f"artefact must be one of {list(ARTEFACTS[modality])} for {modality}, got {artefact!r}.")
    noise = table.noise_sd * {"low_dose": 3.0, "low_signal": 2.0}.get(artefact or "", 1.0)
    if artefact == "motion":
        signal = blur_motion(rng, signal, grid.spacing)
    if artefact == "ghosts":
        signal = ghosts(rng, signal)
    if modality == "mr":
        bias = 0.55 if artefact == "shading" else 0.22
        return acquire(rng, signal, noise_sd=noise, texture_sd=table.texture_sd, bias_strength=bias)
    if artefact == "metal":
        place = np.linalg.solve(grid.affine, [*metal, 1.0])[:3]
        # a filtered volume has no holes: where the band is darkest it is air
        signal = np.maximum(signal + metal_streaks(rng, grid.shape, grid.spacing, place.tolist()), 0)
    share = 0.75 if artefact == "low_dose" else 0.4
    return acquire_ct(rng, signal, noise_sd=noise, texture_sd=table.texture_sd, streak_share=share)
