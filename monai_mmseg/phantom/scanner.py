# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a scanner makes of tissues: partial volume, coil shading, texture, noise and gain."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.grid import Grid
from monai_mmseg.phantom.motion import Motion

SUBDIVIDE = (2, 2, 3)
"""Points in each voxel along the three axes; slices are thick, so they get more."""

AT_ONCE = 1 << 17
"""Points that are classified at a time: what is worked out about them stays in a core's cache."""


class Anatomy(Protocol):
    """Tissue and label at any point of a subject."""

    num_labels: int  # including background

    def classify(
        self, moved: NDArray[np.float32], fixed: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Tissue number and label at each point.

        Args:
            moved: positions at rest of the points (organs that move), mm, shape ``(3, *shape)``.
            fixed: the points themselves (what does not move, such as the chest wall), same shape.

        Returns:
            Tissue numbers and labels, shape ``(*shape)``.
        """
        ...


class Rendering(NamedTuple):
    """Noise-free volume and its label, both on the grid asked for."""

    signal: NDArray[np.float32]  # (X, Y, Z), or (S, X, Y, Z) for several sequences
    label: NDArray[np.uint8]  # (X, Y, Z)


def render(
    anatomy: Anatomy,
    grid: Grid,
    motion: Motion,
    intensities: NDArray[np.float32],
    *,
    subdivide: tuple[int, int, int] = SUBDIVIDE,
) -> Rendering:
    """Average the tissues' signals over each voxel.

    Args:
        anatomy: the subject at rest.
        grid: voxels of the volume.
        motion: where the organs are during the acquisition.
        intensities: signal of each tissue, shape ``(tissues,)``, or ``(S, tissues)`` for several sequences at once.
        subdivide: points in each voxel along the three axes.

    Returns:
        Signal with partial volume, and the label that most points of the voxel carry.
    """
    sequences = intensities.shape[:-1]
    signal = np.empty((*sequences, *grid.shape), np.float32)
    label = np.empty(grid.shape, np.uint8)
    a, b, c = subdivide
    step = max(1, AT_ONCE // (c * a * b * grid.shape[1]))
    for index in range(grid.shape[2]):
        planes = [grid.plane(index, (s + 0.5) / c - 0.5, (a, b)) for s in range(c)]
        moved = [motion.pull_back(plane, index) for plane in planes]
        fixed = [plane.points() for plane in planes]
        for first in range(0, grid.shape[0], step):
            rows = slice(first, first + step)
            points = slice(first * a, (first + step) * a)
            tissue, part = anatomy.classify(*(np.stack([p[:, points] for p in ps], axis=1) for ps in (moved, fixed)))
            for row, volume in zip(np.atleast_2d(intensities), signal.reshape(-1, *grid.shape), strict=True):
                values = row.take(tissue)
                # equal files need one order of additions: one sequence first along the columns, several point by point
                sums = values if sequences else _over_points(values, (1, b, 1))
                volume[rows, :, index] = _over_points(sums, (a, b if sequences else 1, c))[0] / np.float32(a * b * c)
            label[rows, :, index] = _most_frequent(part, subdivide, anatomy.num_labels)
    return Rendering(signal, label)


def _over_points(values: NDArray[Any], subdivide: tuple[int, int, int]) -> NDArray[Any]:
    """Sums of blocks of points, along ``(X points, Y points, Z points)``; ``values`` has Z first."""
    a, b, c = subdivide
    return np.asarray(
        functools.reduce(np.add, (values[s::c, i::a, j::b] for s in range(c) for i in range(a) for j in range(b)))
    )


def _most_frequent(part: NDArray[np.uint8], subdivide: tuple[int, int, int], num_labels: int) -> NDArray[np.uint8]:
    """Label that most points of each voxel carry, of equals the lowest."""
    found = np.flatnonzero(np.bincount(part.ravel(), minlength=num_labels)).astype(np.uint8)
    if len(found) == 1:
        return np.full(part[0, :: subdivide[0], :: subdivide[1]].shape, found[0])
    votes = [_over_points((part == value).view(np.uint8), subdivide)[0] for value in found]
    return found[np.argmax(votes, axis=0)]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> NDArray[np.float32]:
    """White noise smoothed in the first two axes, with unit standard deviation.

    Args:
        rng: random generator.
        shape: shape of the result.
        width: standard deviation of the Gaussian filter in voxels.

    Returns:
        Noise of the given shape.
    """
    i, j = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing="ij")
    window = np.exp(-2 * (np.pi * width) ** 2 * (i**2 + j**2)).reshape(*i.shape, *(1,) * (len(shape) - 2))
    spectrum = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32), axes=(0, 1)) * window
    noise = np.fft.irfft2(spectrum, s=shape[:2], axes=(0, 1))
    return np.asarray(noise / noise.std(), dtype=np.float32)


def blur(signal: NDArray[np.float32], widths: Sequence[float]) -> NDArray[np.float32]:
    """Signal as a scanner of low resolution sees it: convolved with a Gaussian, the volume taken as periodic.

    Args:
        signal: noise-free volume.
        widths: standard deviation in voxels along each axis.

    Returns:
        Volume of the same shape, never negative where ``signal`` is not.
    """
    axes = [np.fft.fftfreq(n) for n in signal.shape[:-1]] + [np.fft.rfftfreq(signal.shape[-1])]
    window = np.ones((1,) * signal.ndim)
    for axis, (frequency, width) in enumerate(zip(axes, widths, strict=True)):
        shape = [-1 if other == axis else 1 for other in range(signal.ndim)]
        window = window * np.exp(-2 * np.square(np.pi * width * frequency)).reshape(shape)
    blurred = np.fft.irfftn(np.fft.rfftn(signal) * window, s=signal.shape, axes=range(signal.ndim))
    return np.maximum(blurred, 0).astype(np.float32)


def bias_field(rng: np.random.Generator, shape: tuple[int, ...], *, strength: float = 0.25) -> NDArray[np.float32]:
    """Smooth multiplicative shading of a receive coil.

    Args:
        rng: random generator.
        shape: shape of the volume.
        strength: standard deviation of the logarithm.

    Returns:
        Positive factors of the given shape, their geometric mean about 1.
    """
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    log = np.zeros(shape)
    for _ in range(4):
        waves = [np.cos(np.pi * rng.uniform(0.2, 0.6) * x + rng.uniform(0, 2 * np.pi)) for x in axes]
        product = waves[0]
        for wave in waves[1:]:
            product = np.multiply.outer(product, wave)
        log += rng.normal() * product
    return np.exp(strength * (log - log.mean()) / max(float(log.std()), 1e-6)).astype(np.float32)


def rician(rng: np.random.Generator, signal: NDArray[np.float32], noise_sd: float) -> NDArray[np.float32]:
    """Magnitude of a signal with Gaussian noise in both receiver channels.

    Args:
        rng: random generator.
        signal: noise-free magnitude.
        noise_sd: standard deviation in each channel.

    Returns:
        Noisy magnitude, never negative.
    """
    real, imaginary = noise_sd * rng.standard_normal((2, *signal.shape), dtype=np.float32)
    return np.asarray(np.hypot(signal + real, imaginary), dtype=np.float32)


def acquire(
    rng: np.random.Generator,
    signal: NDArray[np.float32],
    *,
    noise_sd: float,
    texture_sd: float,
    texture_width: float = 1.2,
    bias_strength: float = 0.20,
    gain: tuple[float, float] = (500.0, 1500.0),
) -> NDArray[np.int16]:
    """Turn noise-free signals into the integers that a scanner writes.

    Args:
        rng: random generator.
        signal: tissue signals, about 0 to 1.
        noise_sd: standard deviation of the noise before the gain.
        texture_sd: relative standard deviation of the texture.
        texture_width: width of the texture in voxels.
        bias_strength: standard deviation of the logarithm of the shading.
        gain: smallest and largest factor to integers.

    Returns:
        Image of the same shape.
    """
    textured = signal * np.maximum(0, 1 + texture_sd * smooth_noise(rng, signal.shape, texture_width))
    shaded = textured * bias_field(rng, signal.shape, strength=bias_strength)
    noisy = rician(rng, shaded.astype(np.float32), noise_sd)
    return np.asarray(np.clip(np.rint(noisy * rng.uniform(*gain)), 0, 32767), dtype=np.int16)
