# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Two modalities before and after one is deformed onto the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_mmseg.visualize.figure import (
    INK,
    LABEL_STYLE,
    LineStyle,
    caption,
    contours,
    display_window,
    heading,
    label_legend,
    new_figure,
    panel,
    side_caption,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class AlignmentPair(NamedTuple):
    """One pair of slices on a common lattice, before and after the deformation."""

    title: str
    fixed: NDArray[np.floating]  # (H, W)
    moving: NDArray[np.floating]  # (H, W)
    deformed: NDArray[np.floating]  # (H, W), the moving image after the deformation
    moving_mask: NDArray[np.integer]  # (H, W)
    deformed_mask: NDArray[np.integer]  # (H, W)
    fixed_mask: NDArray[np.integer] | None = None  # (H, W), the truth, if it is known


def alignment_figure(
    pairs: Sequence[AlignmentPair],
    labels: Mapping[int, str],
    *,
    fixed_name: str = "fixed",
    moving_name: str = "moving",
    title: str = "",
) -> Figure:
    """Rows of pairs: moving image, its mask on the fixed image before and after, and both as a checkerboard.

    Use it to judge an alignment: contours should move onto the organ, and edges run on across the squares of the
    checkerboard, which works for any two contrasts where adding colours does not.

    Args:
        pairs: one row each.
        labels: value to name.
        fixed_name: for the captions.
        moving_name: for the captions.
        title: heading of the figure.

    Raises:
        ValueError: no pair, or a pair with arrays of different shapes.
    """
    if not pairs:
        raise ValueError("pairs must hold at least one pair, got none.")
    values = [value for value in labels if value != 0]
    ratio = pairs[0].fixed.shape[0] / pairs[0].fixed.shape[1]
    figure = new_figure(5 * 2.0 + 0.4, 2.0 * ratio * len(pairs) + 1.0)
    grid = figure.subplots(len(pairs), 5, squeeze=False)
    for row, pair in zip(grid, pairs, strict=True):
        shapes = {np.shape(array) for array in pair[1:] if array is not None}
        if len(shapes) > 1:
            raise ValueError(f"the arrays of pair {pair.title!r} must have one shape, got {sorted(shapes)}.")
        panel(row[0], pair.moving)
        contours(row[0], pair.moving_mask, values, width=1.6)
        _masks(row[1], pair.fixed, pair.moving_mask, pair.fixed_mask, values)
        _masks(row[2], pair.fixed, pair.deformed_mask, pair.fixed_mask, values)
        for axes, image in ((row[3], pair.moving), (row[4], pair.deformed)):
            panel(axes, checkerboard(pair.fixed, image), window=(0, 1))
        side_caption(row[0], pair.title)
    for axes, text in zip(
        grid[0],
        (
            f"{moving_name} and its mask",
            f"mask on {fixed_name}, before",
            f"mask on {fixed_name}, after",
            "checkerboard, before",
            "checkerboard, after",
        ),
        strict=True,
    ):
        caption(axes, text)
    drawn: dict[str, tuple[str, LineStyle]] = {}
    if any(pair.fixed_mask is not None for pair in pairs):
        drawn = {f"mask from {moving_name}": (INK, "-"), f"true contour in {fixed_name}": (INK, LABEL_STYLE)}
    label_legend(figure, labels, lines=drawn)
    heading(figure, title)
    return figure


def checkerboard(first: ArrayLike, second: ArrayLike, *, tiles: int = 8) -> NDArray[np.float64]:
    """Two grey images in alternating squares, each with its own window.

    Args:
        first: shape ``(H, W)``; it has the upper left square.
        second: same shape.
        tiles: squares along the longer side.

    Returns:
        Grey values in [0, 1], shape ``(H, W)``.

    Examples:
        >>> checkerboard([[0.0, 1.0], [1.0, 0.0]], [[3.0, 2.0], [2.0, 2.0]], tiles=2).round(1).tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """
    tones = []
    for image in (first, second):
        low, high = display_window(image)
        tones.append(np.clip((np.asarray(image, dtype=np.float64) - low) / (high - low), 0, 1))
    rows, columns = tones[0].shape
    side = max(1, round(max(rows, columns) / tiles))
    odd = (np.arange(rows)[:, None] // side + np.arange(columns) // side) % 2 == 1
    return np.where(odd, tones[1], tones[0])


def _masks(axes: Axes, image: ArrayLike, mask: ArrayLike, truth: ArrayLike | None, values: Sequence[int]) -> None:
    panel(axes, image)
    contours(axes, mask, values, width=1.4)
    if truth is not None:
        contours(axes, truth, values, width=1.4, style=LABEL_STYLE)
