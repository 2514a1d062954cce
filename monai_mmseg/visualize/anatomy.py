# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The channels of an anatomy beside the image they come from, modality by modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from monai_mmseg.visualize.figure import caption, heading, new_figure, panel, side_caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def anatomy_figure(images: Mapping[str, ArrayLike], anatomies: Mapping[str, ArrayLike], *, title: str = "") -> Figure:
    """Grid with one row a modality: the image, then every anatomy channel.

    Use it to see whether a channel means the same tissue in all modalities, which is what fusion by maximum needs.

    Args:
        images: modality to image, shape ``(H, W)``.
        anatomies: modality to anatomy in [0, 1], shape ``(C, H, W)``; further rows (``"cine, deformed"``) are welcome,
            a row without an image gets an empty first panel.
        title: heading of the figure.

    Returns:
        The figure, ``1 + C`` panels a row.

    Raises:
        ValueError: no anatomy, or anatomies with different numbers of channels.
    """
    maps = {name: np.asarray(values, dtype=np.float64) for name, values in anatomies.items()}
    shapes = {name: values.shape for name, values in maps.items()}
    if (
        not maps
        or any(len(shape) != 3 for shape in shapes.values())
        or len({shape[0] for shape in shapes.values()}) > 1
    ):
        raise ValueError(f"anatomies must have shape (C, H, W) with one C for all, got {shapes}.")
    channels = next(iter(shapes.values()))[0]
    ratio = max(shape[1] / shape[2] for shape in shapes.values())
    figure = new_figure(1.3 * (channels + 1) + 0.4, 1.3 * ratio * len(maps) + (0.75 if title else 0.35))
    grid = figure.subplots(len(maps), channels + 1, squeeze=False)
    for row, (name, values) in enumerate(maps.items()):
        grid[row, 0].set_axis_off()
        if name in images:
            panel(grid[row, 0], images[name])
        side_caption(grid[row, 0], name)
        for channel in range(channels):
            panel(grid[row, channel + 1], values[channel], window=(0, 1), cmap="bone")
    caption(grid[0, 0], "image")
    for channel in range(channels):
        caption(grid[0, channel + 1], f"channel {channel + 1}")
    heading(figure, title)
    return figure
