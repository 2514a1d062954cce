# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Registration of two images on one grid: affine by mutual information, then SyN by local cross-correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.utils import optional_import
from numpy.typing import NDArray

from monai_mmseg.baselines.stacks import is_inside

Floats = NDArray[np.float64]

BINS = 32
AFFINE = {"level_iters": [1000, 100, 50], "sigmas": [3.0, 1.0, 0.0], "factors": [4, 2, 1]}
RADIUS = 4
SYN_ITERATIONS = (100, 50, 25)  # of three levels, the coarsest first
SMOOTHNESS = 3.0
"""Standard deviation in voxels of the smoothing of each SyN update."""

LEAST_OVERLAP = 0.1
"""Share of the fixed image that the moving one must cover."""

TOLERANCE = 0.95
"""Share of a likeness that a stage must keep: interpolation alone costs a little where images lie right already."""

CLIP = (0.5, 99.5)
"""Percentiles of an image that become 0 and 1: one bright vessel would leave few bins to the rest."""


class NoRegistration(Exception):
    """Two images cannot be registered; the message is the reason, in one or two words."""


def needs_dipy() -> None:
    """Refuse to begin without the package.

    Raises:
        ImportError: if it is not installed.
    """
    _dipy("imaffine", "AffineRegistration")


def _dipy(module: str, name: str) -> Any:
    found, there = optional_import(f"dipy.align.{module}", name=name)
    if not there:
        raise ImportError("register needs the package dipy: pip install 'monai-mmseg[register]'.")
    return found


def find_shift(
    fixed: NDArray[np.floating[Any]],
    moving: NDArray[np.floating[Any]],
    inside: NDArray[np.bool_],
    spacing: NDArray[np.floating[Any]],
) -> Floats:
    """Where each voxel of one image is found in another.

    Translation, rigid and affine by mutual information (32 bins, all voxels, three levels), from where both lie in the
    scanner; then symmetric diffeomorphic registration by local cross-correlation (radius 4, three levels; fewer where
    an image is smaller than the window).
    Sources: Mattes et al. 2003, doi:10.1109/TMI.2003.809072; Avants et al. 2008, doi:10.1016/j.media.2007.06.004.

    Args:
        fixed: 2D or 3D image.
        moving: of the same shape.
        inside: where `moving` was seen; elsewhere it repeats its edge.
        spacing: of voxels, mm, one number an axis.

    Returns:
        Shift in voxels, ``(dims, *shape)``: ``fixed(x)`` looks as ``moving(x + shift(x))``.

    Raises:
        NoRegistration: the images do not overlap, one is flat, the optimisation fails, the result folds, or is less
            alike than what it began with.
    """
    if inside.mean() < LEAST_OVERLAP:
        raise NoRegistration("no overlap")
    first, second = _unit(fixed), _unit(moving)
    grid, voxels = np.diag([*spacing, 1.0]), np.indices(first.shape, dtype=np.float64)
    try:
        affine = np.linalg.inv(grid) @ _affine(first, second, inside, grid) @ grid
        aligned, seen = _seen(second, inside, _apply(affine, voxels))
        # the same rim in both images: SyN would bend one to the rim of the other
        masked = [np.where(seen, image, image[seen].mean()) for image in (first, aligned)]
        mapping = _syn(masked[0], masked[1], grid)
        flat = voxels.reshape(len(voxels), -1).T
        bent = mapping.transform_points(flat, coord2world=grid, world2coord=np.linalg.inv(grid))
    except Exception as error:  # whatever an optimisation raises on an odd image
        raise NoRegistration(f"failed, {type(error).__name__}") from error
    places = _apply(affine, np.asarray(bent, dtype=np.float64).T.reshape(voxels.shape))
    if not np.isfinite(places).all() or np.linalg.det(affine) <= 0 or _folds(np.asarray(mapping.forward), spacing):
        raise NoRegistration("folded")
    warped, still = _seen(second, inside, places)
    if still.mean() < LEAST_OVERLAP:
        raise NoRegistration("no overlap")
    both, all_three = inside & seen, seen & still
    _check_gain(*(mutual_information(first[both], image[both]) for image in (second, aligned)))
    _check_gain(*(float(local_correlation(first, image)[all_three].mean()) for image in (aligned, warped)))
    return places - voxels


def _apply(matrix: Floats, points: Floats) -> Floats:
    found: Floats = np.tensordot(matrix[:-1, :-1], points, 1)
    return found + matrix[:-1, -1].reshape(-1, *[1] * (points.ndim - 1))


def _seen(moving: Floats, inside: NDArray[np.bool_], places: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """An image at any places, its edge repeated, and where it was seen."""
    ndimage, _ = optional_import("scipy.ndimage")
    seen = ndimage.map_coordinates(inside.astype(np.float64), places, order=1, mode="nearest") > 0.5
    return ndimage.map_coordinates(moving, places, order=1, mode="nearest"), seen & is_inside(moving.shape, places)


def _check_gain(before: float, after: float) -> None:
    """A stage must not have made the images less alike by its own measure."""
    if not after >= TOLERANCE * before:
        raise NoRegistration("worse")


def _unit(image: NDArray[np.floating[Any]]) -> Floats:
    low, high = np.percentile(image, CLIP)
    if not high > low:
        raise NoRegistration("flat image")
    return np.clip((np.asarray(image, dtype=np.float64) - low) / (high - low), 0, 1)


def _affine(fixed: Floats, moving: Floats, inside: NDArray[np.bool_], grid: Floats) -> Floats:
    metric = _dipy("imaffine", "MutualInformationMetric")(nbins=BINS, sampling_proportion=None)
    registration = _dipy("imaffine", "AffineRegistration")(metric=metric, verbosity=0, **AFFINE)
    found: Floats = np.eye(len(grid))
    for kind in ("Translation", "Rigid", "Affine"):
        transform = _dipy("transforms", f"{kind}Transform{fixed.ndim}D")()
        # a mask of ones would be work for nothing
        masks = {} if inside.all() else {"moving_mask": inside.astype(np.int32)}
        result = registration.optimize(
            fixed,
            moving,
            transform,
            None,
            static_grid2world=grid,
            moving_grid2world=grid,
            starting_affine=found,
            **masks,
        )
        found = np.asarray(result.affine)
    return found


def _syn(fixed: Floats, moving: Floats, grid: Floats) -> Any:
    radius, levels = _window(fixed.shape, np.diag(grid)[:-1])
    metric = _dipy("metrics", "CCMetric")(fixed.ndim, sigma_diff=SMOOTHNESS, radius=radius)
    iterations = list(SYN_ITERATIONS[-levels:])
    registration = _dipy("imwarp", "SymmetricDiffeomorphicRegistration")(metric, level_iters=iterations)
    registration.verbosity = 0
    return registration.optimize(fixed, moving, static_grid2world=grid, moving_grid2world=grid)


def _window(shape: tuple[int, ...], spacing: NDArray[np.floating[Any]]) -> tuple[int, int]:
    """Radius and levels that an image has room for: its coarsest level must be larger than the window."""
    radius = max(1, min(RADIUS, (min(shape) - 2) // 2))
    size = np.asarray(shape)
    for levels in range(len(SYN_ITERATIONS), 1, -1):
        coarse = np.maximum(spacing, spacing.min() * 2 ** (levels - 1))  # thick slices are left as they are
        if (size * spacing / coarse > 2 * radius + 1).all():
            return radius, levels
    return radius, 1


def _folds(field: NDArray[np.floating[Any]], spacing: NDArray[np.floating[Any]]) -> bool:
    """Whether ``x + field(x)`` turns a neighbourhood inside out; field in mm, ``(*shape, dims)``."""
    dims = field.shape[-1]
    slopes = [np.gradient(field[..., k], *spacing) for k in range(dims)]
    jacobian = np.moveaxis(np.array(slopes), (0, 1), (-2, -1)) + np.eye(dims)
    return bool((np.linalg.det(jacobian) <= 0).any())


def mutual_information(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], bins: int = BINS) -> float:
    """Mutual information of two lists of values, from their joint histogram, in nats.

    Args:
        first: values from 0 to 1.
        second: values at the same places.
        bins: of each axis.

    Examples:
        >>> half = np.repeat([0.0, 1.0], 8)
        >>> [round(mutual_information(half, other), 3) for other in (1 - half, np.tile([0.0, 1.0], 8))]
        [0.693, 0.0]
    """
    joint, _, _ = np.histogram2d(first, second, bins=bins, range=[[0, 1], [0, 1]])
    joint /= max(joint.sum(), 1)
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def local_correlation(first: Floats, second: Floats, radius: int = RADIUS) -> Floats:
    """Squared correlation of two images in the window around each voxel, 0 where one is flat.

    Args:
        first: an image.
        second: of the same shape.
        radius: of the window, voxels.

    Examples:
        >>> image = np.random.default_rng(0).random((12, 12))
        >>> bool(np.allclose(local_correlation(image, 3 - 2 * image), 1))
        True
    """
    ndimage, _ = optional_import("scipy.ndimage")

    def mean(image: Floats) -> Floats:
        found: Floats = ndimage.uniform_filter(image, 2 * radius + 1, mode="nearest")
        return found

    one, two = mean(first), mean(second)
    cross = mean(first * second) - one * two
    spread = (mean(first * first) - one * one) * (mean(second * second) - two * two)
    found: Floats = np.where(spread > 1e-10, cross * cross / np.maximum(spread, 1e-10), 0.0)
    return found
