# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: many small pictures to look through a data set at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.visualize.figure import INK, caption, contours, heading, label_legend, new_figure, panel, pick_slices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Thumbnail(NamedTuple):
    """One small picture of a contact sheet."""

    title: str
    image: NDArray[np.floating]  # (H, W) or (H, W, D); of a volume the middle labelled slice is shown
    label: NDArray[np.integer] | None = None  # same shape
    spacing: tuple[float, float] = (1.0, 1.0)  # mm, rows and columns
    mark: tuple[float, float] | None = None  # row and column that ticks on the sides point at


def contact_sheet(
    thumbnails: Sequence[Thumbnail], labels: Mapping[int, str], *, columns: int = 6, title: str = ""
) -> Figure:
    """Small pictures in rows, each with its contours and title.

    Use it before training: a flipped label, an empty image or a wrong modality catches the eye.

    Args:
        thumbnails: what to show, in reading order.
        labels: value to name.
        columns: pictures a row at most; give the number of modalities to have one row a subject.
        title: heading of the figure.

    Raises:
        ValueError: nothing to show.
    """
    if not thumbnails:
        raise ValueError("thumbnails must hold at least one picture, got none.")
    across = min(columns, len(thumbnails))
    down = math.ceil(len(thumbnails) / across)
    ratio = max(item.image.shape[0] * item.spacing[0] / (item.image.shape[1] * item.spacing[1]) for item in thumbnails)
    figure = new_figure(1.8 * across + 0.1, (1.8 * min(ratio, 2.0) + 0.25) * down + 0.7)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid[len(thumbnails) :]:
        axes.set_axis_off()
    values = [value for value in labels if value != 0]
    for axes, thumbnail in zip(grid, thumbnails, strict=False):
        image, label, text = thumbnail.image, thumbnail.label, thumbnail.title
        if image.ndim == 3:
            holding = pick_slices(label, image.shape[2], image.shape[2])
            at = holding[len(holding) // 2]
            text = f"{text} [{at + 1}/{image.shape[2]}]"
            image, label = image[:, :, at], None if label is None else label[:, :, at]
        panel(axes, image, aspect=thumbnail.spacing[0] / thumbnail.spacing[1])
        if label is not None:
            contours(axes, label, values, width=1.0)
        if thumbnail.mark is not None:
            _ticks(axes, *thumbnail.mark)
        caption(axes, text, size=8)
    label_legend(figure, labels)
    heading(figure, title)
    return figure


def _ticks(axes: Axes, row: float, column: float) -> None:
    for ends in ((0.0, 0.06), (0.94, 1.0)):
        axes.axhline(row, *ends, color=INK, linewidth=1.0)
        axes.axvline(column, *ends, color=INK, linewidth=1.0)
