# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Latent traversal: what each dimension of the modality code does to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from monai_mmseg.visualize.figure import INK, QUIET, caption, display_window, heading, new_figure, panel, side_caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from monai_mmseg.metrics.disentanglement import LatentTraversal


def traversal_figure(traversal: LatentTraversal, *, title: str = "") -> Figure:
    """Grid with one row a dimension: images along the range, correlation map, difference of the extremes.

    Use it to see which dimension changes which tissue. All images share one grey window and all differences one
    colour scale, so rows can be compared.

    Args:
        traversal: from :func:`monai_mmseg.metrics.latent_traversal`, 2D.
        title: heading of the figure.

    Returns:
        The figure, ``S + 2`` panels a row and two colour bars.

    Raises:
        ValueError: the images are not 2D.
    """
    images = traversal.images.numpy()
    if images.ndim != 4:
        raise ValueError(f"images must have shape (D, S, H, W), got {images.shape}.")
    dimensions, steps, height, width = images.shape
    window = display_window(images)
    reach = max(float(np.abs(traversal.difference.numpy()).max()), 1e-6)
    figure = new_figure(1.15 * (steps + 2) + 0.6, 1.15 * height / width * dimensions + 0.9)
    grid = figure.subplots(dimensions, steps + 2, squeeze=False)
    for dimension, row in enumerate(grid):
        for step in range(steps):
            panel(row[step], images[dimension, step], window=window)
        correlation = panel(row[steps], traversal.correlation[dimension].numpy(), window=(-1, 1), cmap="RdBu_r")
        difference = panel(
            row[steps + 1], traversal.difference[dimension].numpy(), window=(-reach, reach), cmap="PuOr_r"
        )
        side_caption(row[0], f"z{dimension + 1}")
    for step, value in enumerate(traversal.values.tolist()):
        caption(grid[0, step], f"{value:+.1f}" if abs(value) > 1e-6 else "0", color=QUIET)
    caption(grid[0, steps], "correlation")
    caption(grid[0, steps + 1], "difference")
    for image, column in ((correlation, steps), (difference, steps + 1)):
        # An inset keeps the maps in line with the images, which a bar that takes room from them would not.
        below = grid[-1, column].inset_axes([0.1, -0.16, 0.8, 0.07])
        bar = figure.colorbar(image, cax=below, orientation="horizontal")
        limit = 1.0 if column == steps else reach
        bar.set_ticks([-limit, 0, limit], labels=[f"{-limit:.2g}", "0", f"{limit:.2g}"])
        bar.ax.tick_params(colors=INK, labelsize=7, length=2)
        bar.outline.set_visible(False)
    heading(figure, title)
    return figure
