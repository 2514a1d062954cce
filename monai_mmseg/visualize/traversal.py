# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Latent traversal: what each dimension of the modality code does to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from monai_mmseg.visualize.figure import GAP, INK, heading, mosaic, new_figure

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
        The figure, ``S + 2`` columns and two colour bars.

    Raises:
        ValueError: the images are not 2D.
    """
    images = traversal.images.numpy()
    if images.ndim != 4:
        raise ValueError(f"images must have shape (D, S, H, W), got {images.shape}.")
    dimensions, steps, height, width = images.shape
    reach = max(float(np.abs(traversal.difference.numpy()).max()), 1e-6)
    figure = new_figure(1.15 * (steps + 2) + 0.6, 1.15 * height / width * dimensions + 1.3)
    # shares of the width: that of the images with what mosaic puts between them
    wide = steps + GAP * (steps - 1)
    varied, related, changed = figure.subplots(1, 3, width_ratios=(wide, 1, 1), squeeze=False)[0]
    varied.set_anchor("N")
    values = [f"{value:+.1f}" if abs(value) > 1e-6 else "0" for value in traversal.values.tolist()]
    mosaic(varied, images, rows=[f"z{dimension + 1}" for dimension in range(dimensions)], columns=values)
    for axes, text, maps, limit, colours in (
        (related, "correlation", traversal.correlation, 1.0, "RdBu_r"),
        (changed, "difference", traversal.difference, reach, "PuOr_r"),
    ):
        image = mosaic(axes, maps.numpy()[:, None], columns=[text], window=(-limit, limit), cmap=colours)
        # An inset keeps the maps in line with the images, which a bar that takes room from them would not.
        axes.set_anchor("N")
        below = axes.inset_axes([0.1, -0.16 / dimensions, 0.8, 0.07 / dimensions])
        bar = figure.colorbar(image, cax=below, orientation="horizontal")
        bar.set_ticks([-limit, 0, limit], labels=[f"{-limit:.2g}", "0", f"{limit:.2g}"])
        bar.ax.tick_params(colors=INK, labelsize=7, length=2)
        bar.outline.set_visible(False)
    heading(figure, title)
    return figure
