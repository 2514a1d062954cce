# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Each modality of a slice, reconstructed with the anatomy of each other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from monai_mmseg.visualize.figure import (
    GRID,
    QUIET,
    caption,
    corner_caption,
    display_window,
    heading,
    new_figure,
    panel,
    side_caption,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 1.5  # inches of a panel


def cross_reconstruction_figure(
    images: Mapping[str, ArrayLike],
    reconstructions: Mapping[tuple[str, str], ArrayLike],
    *,
    notes: Mapping[tuple[str, str], str] | None = None,
    title: str = "",
) -> Figure:
    """The images of a slice, and below a row for each anatomy and a column for each modality it is decoded to.

    Use it to see what is carried over from one modality to another and what is not: a lesion that shows in the image of
    a column but not below it was not in the anatomy of that row. A column has the grey window of its image. The paper's
    Fig. 4 has rows and columns the other way round, and no row of images.

    Args:
        images: modality to its slice ``(H, W)``; a modality that is absent is left out.
        reconstructions: (modality of the anatomy, modality of the result) to ``(H, W)``; those that are not there stay
            empty. A row may have another name than a modality, such as ``"all others"``.
        notes: short text on a reconstruction, such as its scores.
        title: heading of the figure.

    Returns:
        The figure: one row more than anatomies, a column a modality.

    Raises:
        ValueError: no reconstruction, or a slice that is not 2D.
    """
    if not reconstructions:
        raise ValueError("reconstructions must hold at least one, got none.")
    slices = {name: np.asarray(image, dtype=np.float64) for name, image in images.items()}
    cells = {pair: np.asarray(image, dtype=np.float64) for pair, image in reconstructions.items()}
    if odd := [image.shape for image in (*slices.values(), *cells.values()) if image.ndim != 2]:
        raise ValueError(f"images and reconstructions must have shape (H, W), got {odd}.")
    columns = list(dict.fromkeys([*slices, *(target for _, target in cells)]))
    sources = list(dict.fromkeys(source for source, _ in cells))
    order = [name for name in columns if name in sources] + [name for name in sources if name not in columns]
    height, width = next(iter(cells.values())).shape
    figure = new_figure(SIDE * len(columns) + 0.3, SIDE * height / width * (len(order) + 1) + (0.6 if title else 0.3))
    grid = figure.subplots(len(order) + 1, len(columns), squeeze=False)
    for column, target in enumerate(columns):
        if target in slices:
            window = display_window(slices[target])
        else:
            window = display_window(np.stack([image for pair, image in cells.items() if pair[1] == target]))
        _show(grid[0, column], slices.get(target), window)
        caption(grid[0, column], target)
        for row, source in enumerate(order, start=1):
            pair = (source, target)
            _show(grid[row, column], cells.get(pair), window)
            if pair in cells and notes and pair in notes:
                corner_caption(grid[row, column], notes[pair])
    side_caption(grid[0, 0], "image")
    for row, source in enumerate(order, start=1):
        side_caption(grid[row, 0], f"from {source}")
    heading(figure, title)
    return figure


def _show(axes: Axes, image: ArrayLike | None, window: tuple[float, float]) -> None:
    if image is not None:
        panel(axes, image, window=window)
        return
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(GRID)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(0.5, 0.5, "not there", transform=axes.transAxes, ha="center", va="center", color=QUIET, fontsize=8)
