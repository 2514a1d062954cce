# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The contour baseline: the copied outline of each class, drawn to the edges of the target's image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import
from numpy.typing import NDArray

from monai_mmseg.baselines.copy import copy_label
from monai_mmseg.baselines.stacks import Stacks
from monai_mmseg.baselines.subjects import Found, predict_subjects

ALPHA, BETA, GAMMA = 0.5, 0.15, 0.7
SIGMA, MOST_POINTS, ITERATIONS = 1.0, 400, 2500
LEAST_POINTS = 8
CLIP = (0.5, 99.5)

Mask = NDArray[np.bool_]


def draw_contours(
    mask: NDArray[np.integer[Any]],
    image: NDArray[np.floating[Any]],
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    gamma: float = GAMMA,
) -> Found:
    """Label of a slice whose outlines were drawn to the edges of an image.

    Each connected part of each class is a snake of its own, uncoupled from the others. It follows the part's outer
    outline, and the snakes are filled from the largest to the smallest: what lies within another class (the blood pool
    in the ring of the myocardium) is drawn over it. A hole that holds no class has a snake, too, and is emptied. At the
    border of the image a part ends at the border. A snake that collapses leaves its part as it was.
    Source: Kass et al. 1988, doi:10.1007/BF00133570; numbers of DAFNet, doi:10.1109/TMI.2020.3036584, for cine to LGE
    and for T1 to T2 of the abdomen; for BOLD, `alpha` is 0.01.

    Args:
        mask: copied label, ``(X, Y)``.
        image: the target's slice, ``(X, Y)``.
        alpha: weight of the contour's length; larger ones contract.
        beta: weight of its smoothness.
        gamma: damping of each step; larger ones make smaller steps.

    Returns:
        Label ``(X, Y)`` and the number of ``contours``, or of outlines that were kept and why.

    Raises:
        ValueError: if the shapes differ.

    Examples:
        >>> rows, columns = np.ogrid[:64, :64]
        >>> far = np.hypot(rows - 32, columns - 32)
        >>> found, counts = draw_contours((far < 18).astype(int), (far < 15).astype(float))
        >>> before, after = ((abs((far < 15) != one.astype(bool))).sum() for one in (far < 18, found))
        >>> bool(after < before / 4), dict(counts)
        (True, {'contours': 1})
    """
    if mask.shape != image.shape:
        raise ValueError(f"mask and image must have one shape, got {mask.shape} and {image.shape}.")
    if not mask.any():
        return Found(np.zeros(mask.shape, np.int16), {})
    low, high = np.percentile(image, CLIP)
    parts = sorted(_parts(mask), key=lambda part: -int(part[1].sum()))
    if not high > low:
        return Found(mask.astype(np.int16), {"flat image": len(parts)})
    ndimage, _ = optional_import("scipy.ndimage")
    smooth = ndimage.gaussian_filter(np.clip((np.asarray(image, np.float64) - low) / (high - low), 0, 1), SIGMA)
    out, counts = np.zeros(mask.shape, dtype=np.int16), Counter[str]()
    for value, part in parts:
        drawn = _drawn(part, smooth, alpha, beta, gamma)
        counts["collapsed" if drawn is None else "contours"] += 1
        out[part if drawn is None else drawn] = value
    return Found(out, counts)


def _parts(mask: NDArray[np.integer[Any]]) -> Iterator[tuple[int, Mask]]:
    """Value and filled outline of all connected parts, and of holes in which there is no other class."""
    ndimage, _ = optional_import("scipy.ndimage")
    for value in np.unique(mask[mask > 0]):
        labelled, number = ndimage.label(mask == value)
        for part in (labelled == k for k in range(1, number + 1)):
            filled = ndimage.binary_fill_holes(part)
            yield int(value), filled
            holes, among = ndimage.label(filled & ~part)
            for hole in (holes == k for k in range(1, among + 1)):
                if not mask[hole].any():
                    yield 0, hole


def _drawn(part: Mask, image: NDArray[np.float64], alpha: float, beta: float, gamma: float) -> Mask | None:
    """The filled snake, or nothing if there is none left."""
    active_contour, _ = optional_import("skimage.segmentation", name="active_contour")
    snake = active_contour(
        image,
        outline(part),
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        max_num_iter=ITERATIONS,
        boundary_condition="periodic",
    )
    if not np.isfinite(snake).all():
        return None
    filled = fill(snake, part.shape)
    return filled if filled.any() else None


def outline(part: Mask) -> NDArray[np.float64]:
    """Points around a connected part, about a pixel apart, at most 400 of them; the last is not the first.

    Args:
        part: shape ``(X, Y)``.

    Returns:
        Indexes, shape ``(N, 2)``; half a pixel outside of the outermost ones.
    """
    find_contours, _ = optional_import("skimage.measure", name="find_contours")
    # a rim of background closes outlines at the border
    closed = max(find_contours(np.pad(part, 1).astype(np.float64), 0.5), key=len) - 1
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    number = int(np.clip(round(length[-1]), LEAST_POINTS, MOST_POINTS))
    at = np.linspace(0, length[-1], number, endpoint=False)
    return np.stack([np.interp(at, length, closed[:, k]) for k in range(2)], axis=1)


def fill(points: NDArray[np.floating[Any]], shape: tuple[int, ...]) -> Mask:
    """Pixels within a closed line, ``points`` of shape ``(N, 2)``; what lies outside of the image is cut off."""
    polygon, _ = optional_import("skimage.draw", name="polygon")
    filled = np.zeros(shape, dtype=bool)
    filled[polygon(points[:, 0], points[:, 1], shape)] = True
    return filled


def contour_label(stacks: Stacks, *, alpha: float = ALPHA, beta: float = BETA, gamma: float = GAMMA) -> Found:
    """:func:`draw_contours` on the copied label of every slice.

    Args:
        stacks: the source's label and the target's image.
        alpha: weight of the contour's length.
        beta: weight of its smoothness.
        gamma: damping of each step.

    Returns:
        Label of the target's shape, and the number of contours.

    Raises:
        ValueError: if the target's image is missing.
    """
    if stacks.target is None:
        raise ValueError("stacks must hold the target's image, it is None.")
    copied, total = copy_label(*stacks[:4]), Counter[str]()
    label = stacks.classes(copied).astype(np.int16)
    for at in range(label.shape[2]):
        label[:, :, at], counts = draw_contours(
            label[:, :, at], stacks.target[:, :, at], alpha=alpha, beta=beta, gamma=gamma
        )
        total.update(counts)
    if stacks.ignore is not None:
        label[copied == stacks.ignore] = stacks.ignore  # no snake goes around what nobody has drawn
    return Found(label, total)


def active_contour_baseline(
    items: Sequence[Mapping[str, Any]],
    source: str,
    target: str,
    out_dir: str | Path,
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    gamma: float = GAMMA,
    lend: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> dict[str, Path]:
    """Prediction files that draw one modality's copied labels to the edges of another's images.

    Use it as :func:`~monai_mmseg.baselines.copy_baseline`; it needs the package ``scikit-image``. How many contours
    were drawn, and how many collapsed, is logged and kept in ``<out_dir>/baseline.json``.

    Args:
        items: flat items of a datalist with absolute paths.
        source: modality whose labels are used.
        target: modality that gets them.
        out_dir: files are ``<out_dir>/<subject>/<image stem>_seg.nii.gz``; they appear together, when all are made.
        alpha: weight of a contour's length; 0.01 for cine to CP-BOLD in the paper.
        beta: weight of its smoothness.
        gamma: damping of each step.
        lend: as of :func:`~monai_mmseg.baselines.copy_baseline`.
        overwrite: whether files that are there already may be replaced.
        workers: processes at a time; ``None``: as many as there are cores, at most eight, where that pays.

    Returns:
        Subject to file, for the subjects that have a labelled source and a target image.

    Raises:
        ValueError: as :func:`~monai_mmseg.baselines.copy_baseline`, or a weight is negative, or `gamma` not positive.
        OSError: the folder holds something already, or cannot be written.
        ImportError: ``scikit-image`` is not installed.
    """
    if not optional_import("skimage.segmentation")[1]:
        raise ImportError("active_contour needs the package scikit-image: pip install 'monai-mmseg[register]'.")
    weights = {"alpha": alpha, "beta": beta, "gamma": gamma}
    if min(weights.values()) < 0 or gamma == 0:
        raise ValueError(f"alpha and beta must not be negative, gamma must be positive, got {weights}.")
    return predict_subjects(
        partial(contour_label, alpha=alpha, beta=beta, gamma=gamma),
        items,
        source,
        target,
        out_dir,
        method="active_contour",
        settings=weights,
        images=("target",),
        lend=lend,
        overwrite=overwrite,
        workers=workers,
    )
