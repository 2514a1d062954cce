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
    scanner; then symmetric diffeomorphic registration by local cross-correlation (radius 4, three levels).
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
    grid = np.diag([*spacing, 1.0])
    try:
        affine = _affine(first, second, inside, grid)
        mapping = _syn(first, second, grid, affine)
    except Exception as error:  # whatever an optimisation raises on an odd image
        raise NoRegistration(f"failed, {type(error).__name__}") from error
    voxels = np.indices(first.shape, dtype=np.float64)
    flat = voxels.reshape(len(voxels), -1).T
    moved = np.asarray(mapping.transform_points(flat, coord2world=grid, world2coord=np.linalg.inv(grid)))
    shift: Floats = moved.T.reshape(voxels.shape).astype(np.float64) - voxels
    if not np.isfinite(shift).all() or np.linalg.det(affine) <= 0 or _folds(np.asarray(mapping.forward), spacing):
        raise NoRegistration("folded")
    half = np.tensordot(np.linalg.inv(grid) @ affine @ grid, np.concatenate([voxels, np.ones_like(voxels[:1])]), 1)
    _check_gain(first, second, inside, half[:-1] - voxels, shift)
    return shift


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


def _syn(fixed: Floats, moving: Floats, grid: Floats, affine: Floats) -> Any:
    metric = _dipy("metrics", "CCMetric")(fixed.ndim, sigma_diff=SMOOTHNESS, radius=RADIUS)
    registration = _dipy("imwarp", "SymmetricDiffeomorphicRegistration")(metric, level_iters=list(SYN_ITERATIONS))
    registration.verbosity = 0
    return registration.optimize(fixed, moving, static_grid2world=grid, moving_grid2world=grid, prealign=affine)


def _folds(field: NDArray[np.floating[Any]], spacing: NDArray[np.floating[Any]]) -> bool:
    """Whether ``x + field(x)`` turns a neighbourhood inside out; field in mm, ``(*shape, dims)``."""
    dims = field.shape[-1]
    slopes = [np.gradient(field[..., k], *spacing) for k in range(dims)]
    jacobian = np.moveaxis(np.array(slopes), (0, 1), (-2, -1)) + np.eye(dims)
    return bool((np.linalg.det(jacobian) <= 0).any())


def _check_gain(fixed: Floats, moving: Floats, inside: NDArray[np.bool_], affine: Floats, shift: Floats) -> None:
    """Each stage must have made the images more alike by its own measure."""
    ndimage, _ = optional_import("scipy.ndimage")
    voxels = np.indices(fixed.shape, dtype=np.float64)

    def seen(by: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        at = voxels + by
        mask = is_inside(fixed.shape, at)
        mask &= ndimage.map_coordinates(inside.astype(np.float64), at, order=1) > 0.5
        return ndimage.map_coordinates(moving, at, order=1, mode="nearest"), mask

    half, half_seen = seen(affine)
    whole, whole_seen = seen(shift)
    if not whole_seen.mean() >= LEAST_OVERLAP:
        raise NoRegistration("no overlap")
    # where the images are seen before and after
    both, all_three = inside & half_seen, half_seen & whole_seen
    before, after = mutual_information(fixed[both], moving[both]), mutual_information(fixed[both], half[both])
    if after < before:
        raise NoRegistration("worse")
    likeness = [local_correlation(fixed, image)[all_three].mean() for image in (half, whole)]
    if not likeness[1] >= likeness[0]:
        raise NoRegistration("worse")


def mutual_information(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], bins: int = BINS) -> float:
    """Mutual information of two lists of values, from their joint histogram, in nats.

    Args:
        first: values from 0 to 1.
        second: values at the same places.
        bins: of each axis.

    Examples:
        >>> half = np.repeat([0.0, 1.0], 8)
        >>> round(mutual_information(half, 1 - half) / np.log(2), 6), mutual_information(half, np.tile([0.0, 1.0], 8))
        (1.0, 0.0)
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
