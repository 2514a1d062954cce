# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One slice of each image of a subject, all through the same place in the scanner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.transforms.geometry import slice_pitch
from monai_mmseg.unannotated import is_foreground

_MOST_PIXELS = 320  # a side; a thumbnail is drawn with fewer


class OrientedVolume(NamedTuple):
    """An image with its slice axis last."""

    image: NDArray[np.float32]  # (H, W, D)
    label: NDArray[np.uint8] | None  # (H, W, D)
    affine: NDArray[np.float64]  # (4, 4)
    flipped: bool = False  # whether slice 0 is the last one of the file


class Thumb(NamedTuple):
    """One slice for the contact sheet; no pixels where the volume does not reach the place."""

    image: NDArray[np.float32]  # (H, W), or (0, 0)
    label: NDArray[np.uint8] | None  # (H, W)
    spacing: tuple[float, float]  # mm
    mark: tuple[float, float] | None = None  # row and column of the place
    text: str = ""  # which slice it is, as the file counts from 1, and how far from the place if that is much


def same_place(volumes: Sequence[OrientedVolume]) -> list[Thumb]:
    """Cut volumes of one subject at one place.

    The place is the middle of the labelled slice with the largest area of foreground. Without labels it is the middle
    of the first volume, among its slices those that most of the others reach. Each other volume shows its slice that is
    nearest to it in scanner coordinates.

    Args:
        volumes: one or more, each with an affine that can be inverted.

    Returns:
        A thumbnail of each volume, in their order.

    Examples:
        >>> lattice, shifted = np.diag([1.0, 1.0, 5.0, 1.0]), np.diag([1.0, 1.0, 5.0, 1.0])
        >>> shifted[2, 3] = 10  # mm
        >>> label = np.zeros((4, 4, 6), dtype=np.uint8)
        >>> label[1:3, 1:3, 4] = 1
        >>> image = np.zeros((4, 4, 6), dtype=np.float32)
        >>> [thumb.text for thumb in same_place([OrientedVolume(image, label, lattice),
        ...                                      OrientedVolume(image, None, shifted)])]
        ['[5/6]', '[3/6]']
    """
    place = _labelled_place(volumes)
    if place is None:
        place = _middle(volumes)
    return [_cut(volume, place) for volume in volumes]


def _labelled_place(volumes: Sequence[OrientedVolume]) -> NDArray[np.float64] | None:
    best, place = 0.0, None
    for volume in volumes:
        if volume.label is None:
            continue
        areas = is_foreground(volume.label).sum((0, 1)) * np.prod(np.linalg.norm(volume.affine[:3, :2], axis=0))
        at = int(areas.argmax())
        if areas[at] > best:
            rows, columns = np.nonzero(is_foreground(volume.label[:, :, at]))
            best = float(areas[at])
            place = volume.affine @ np.array([rows.mean(), columns.mean(), at, 1.0])
    return place


def _middle(volumes: Sequence[OrientedVolume]) -> NDArray[np.float64]:
    height, width, depth = volumes[0].image.shape
    centers = np.stack([np.full(depth, (height - 1) / 2), np.full(depth, (width - 1) / 2), np.arange(depth)])
    places = volumes[0].affine @ np.concatenate([centers, np.ones((1, depth))])
    reached = np.zeros(depth, dtype=np.int64)
    for volume in volumes:
        reached += _reaches((np.linalg.inv(volume.affine) @ places)[2], volume.image.shape[2])
    candidates = np.flatnonzero(reached == reached.max())
    chosen: NDArray[np.float64] = places[:, candidates[len(candidates) // 2]]
    return chosen


def _reaches(position: NDArray[np.float64], depth: int) -> NDArray[np.bool_]:
    within: NDArray[np.bool_] = (position >= -0.51) & (position <= depth - 0.49)
    return within


def _cut(volume: OrientedVolume, place: NDArray[np.float64]) -> Thumb:
    row, column, position = (np.linalg.inv(volume.affine) @ place)[:3]
    height, width, depth = volume.image.shape
    rows, columns = (float(value) for value in np.linalg.norm(volume.affine[:3, :2], axis=0))
    if not _reaches(position, depth):
        return Thumb(np.zeros((0, 0), dtype=np.float32), None, (rows, columns), text="no slice there")
    at = int(np.clip(np.ceil(position - 0.5 - 1e-6), 0, depth - 1))
    off = abs(float(position) - at) * slice_pitch(volume.affine)
    down, across = (max(1, -(-size // _MOST_PIXELS)) for size in (height, width))
    label = None if volume.label is None else volume.label[::down, ::across, at].copy()
    number = depth - at if volume.flipped else at + 1
    return Thumb(
        volume.image[::down, ::across, at].copy(),
        label,
        (rows * down, columns * across),
        (float(row) / down, float(column) / across),
        f"[{number}/{depth}]" + (f" {off:.1f} mm off" if off >= 0.5 else ""),
    )
