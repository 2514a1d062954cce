# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whether two images of a subject show the same place in the same voxel: measured, not taken from the header."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

BINS = 16
STEPS = 3  # shifts tried either way along rows and columns
SLICES = 8  # looked at in a volume
FEWEST, MOST = 200, 20_000  # points of a slice that say something, and that are enough


def mutual_information(first: Tensor, second: Tensor, bins: int = BINS) -> float:
    """What the grey values of one image tell about those of another, in nats.

    Args:
        first: values, shape ``(N,)``.
        second: values at the same places, shape ``(N,)``.
        bins: of equal counts for each image.

    Returns:
        0 for images that have nothing to do with each other.

    Raises:
        ValueError: for another shape.

    Examples:
        >>> ramp = torch.arange(1000.0)
        >>> round(mutual_information(ramp, -ramp), 3), round(mutual_information(ramp, ramp * 0), 3)
        (2.773, 0.0)
    """
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"first and second must be (N,) alike, got {tuple(first.shape)} and {tuple(second.shape)}.")
    return _information(_binned(first, bins), _binned(second, bins), bins)


def _binned(values: Tensor, bins: int) -> Tensor:
    # equal counts: a few bright voxels must not take all bins
    edges = torch.quantile(values.double(), torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    return torch.bucketize(values.double(), edges, right=True)


def _information(first: Tensor, second: Tensor, bins: int) -> float:
    joint = torch.bincount(first * bins + second, minlength=bins * bins).reshape(bins, bins).double()
    joint = joint / joint.sum()
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    there = joint > 0
    return float((joint[there] * (joint[there] / apart[there]).log()).sum())


def best_shift(
    first: MetaTensor, second: MetaTensor, box: Sequence[tuple[int, int]], step: float | None = None
) -> float | None:
    """How far the second image lies from where it fits the first best, slice by slice.

    When to use: to tell images that are registered from such as merely share a scanner. Each slice is tried by itself,
    since breath and heart move slices apart, not volumes.

    Args:
        first: oriented volume ``(1, X, Y, Z)`` with its affine, slices last.
        second: another one, on any grid.
        box: first voxel and end along each axis of ``first`` where to look, such as the foreground with a margin.
        step: mm between the shifts that are tried; ``None``: two voxels of ``first``, and 2 mm at least.

    Returns:
        Median over slices of the distance in mm; ``None`` if the images hardly meet.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> one = MetaTensor(torch.nn.functional.avg_pool2d(torch.rand(3, 66, 66), 3, 1).permute(1, 2, 0)[None])
        >>> moved = MetaTensor(-torch.roll(one, 4, 1))
        >>> whole = [(0, 64), (0, 64), (0, 3)]
        >>> best_shift(one, MetaTensor(-one), whole), best_shift(one, moved, whole)
        (0.0, 4.0)
    """
    affine = np.asarray(first.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    step = max(2.0, 2 * float(spacing[:2].mean())) if step is None else float(step)
    to_second = np.linalg.inv(np.asarray(second.affine, dtype=np.float64))
    moves = [(i * step, j * step) for i in range(-STEPS, STEPS + 1) for j in range(-STEPS, STEPS + 1)]
    directions = affine[:3, :2] / spacing[:2]
    offsets = []
    (rows, columns, slices) = box
    stride = math.ceil(math.sqrt((rows[1] - rows[0]) * (columns[1] - columns[0]) / MOST))
    for place in np.unique(np.linspace(slices[0], slices[1] - 1, SLICES).round().astype(int)):
        points = np.stack(
            np.meshgrid(np.arange(*rows, stride), np.arange(*columns, stride), [place], indexing="ij"), -1
        ).reshape(-1, 3)
        world = points @ affine[:3, :3].T + affine[:3, 3]
        values = first.as_tensor()[0][tuple(torch.as_tensor(points.T))]
        found = _fit(values, second, world, directions, moves, to_second)
        if found is not None:
            offsets.append(found)
    return float(np.median(offsets)) if offsets else None


def _fit(
    values: Tensor,
    second: MetaTensor,
    world: NDArray[np.float64],
    directions: NDArray[np.float64],
    moves: Sequence[tuple[float, float]],
    to_second: NDArray[np.float64],
) -> float | None:
    """Length of the best move of one slice."""
    sampled = [_sampled(second, world + directions @ np.array(move), to_second) for move in moves]
    there = torch.stack(sampled).isfinite().all(0)
    if int(there.sum()) < FEWEST:
        return None
    binned = _binned(values[there], BINS)
    fits = [_information(binned, _binned(one[there], BINS), BINS) for one in sampled]
    home = fits[moves.index((0.0, 0.0))]
    best = max(range(len(moves)), key=lambda number: fits[number])
    # a flat top says nothing against the place where the images are
    if fits[best] <= 1.02 * home:
        return 0.0
    return math.hypot(*moves[best])


def _sampled(volume: MetaTensor, world: ArrayLike, inverse: NDArray[np.float64]) -> Tensor:
    """Values at places in mm, NaN outside; ``(N,)``."""
    voxels = np.asarray(world) @ inverse[:3, :3].T + inverse[:3, 3]
    size = np.array(volume.shape[1:], dtype=np.float64)
    scaled = torch.as_tensor((2 * voxels + 1) / size - 1, dtype=torch.float32)
    grid = scaled.flip(-1)[None, None, None]
    values = F.grid_sample(volume.as_tensor()[None].float(), grid, padding_mode="border", align_corners=False)
    outside = torch.as_tensor(((voxels < -0.5) | (voxels > size - 0.5)).any(1))
    return values.flatten().masked_fill(outside, torch.nan)
