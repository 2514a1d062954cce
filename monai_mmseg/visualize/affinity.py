# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How layers build on each other in each modality, class by class, and what single channels see of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_mmseg.visualize.figure import (
    GRID,
    INK,
    caption,
    color_bar,
    contours,
    heading,
    new_figure,
    panel,
    plain,
    side_caption,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def affinity_figure(
    matrices: ArrayLike, modalities: Sequence[str], classes: Sequence[str], *, title: str = ""
) -> Figure:
    """Heat maps of the affinity matrices: a column a class, a row a modality, and rows of their differences.

    Use it to see whether the channels of one layer relate to those of another in the same way in all modalities, and in
    which class they do not. Channels are sorted by what they have in common over all modalities, the same in every
    panel, so that structure shows. All matrices share one colour scale and all differences another.

    Args:
        matrices: affinities of :func:`~monai_mmseg.losses.class_affinities`, shape ``(M, C, P, Q)``; NaN where a class
            is absent.
        modalities: M names.
        classes: C names.
        title: heading of the figure.

    Returns:
        The figure: a row of panels for each modality and, below, for each further modality minus the first.

    Raises:
        ValueError: when the shapes do not fit.
    """
    values: NDArray[np.float64] = np.asarray(matrices, dtype=np.float64)
    if values.ndim != 4 or values.shape[:2] != (len(modalities), len(classes)):
        raise ValueError(
            f"matrices must have shape ({len(modalities)}, {len(classes)}, P, Q) for {len(modalities)} modalities and "
            f"{len(classes)} classes, got {values.shape}."
        )
    mean = np.nan_to_num(values).mean((0, 1))
    rows, columns = _order(mean), _order(mean.T)
    values = values[:, :, rows][..., columns]
    shown = np.concatenate([values, values[1:] - values[:1]])
    names = [*modalities, *(f"{name} − {modalities[0]}" for name in modalities[1:])]
    reach = [max(float(np.nanmax(np.abs(part), initial=0.0)), 1e-6) for part in (values, shown[len(modalities) :])]
    figure = new_figure(1.6 * len(classes) + 1.3, 1.6 * len(names) + 0.7, gap=0.02)
    grid = figure.subplots(len(names), len(classes), squeeze=False)
    for row, (axes_row, name) in enumerate(zip(grid, names, strict=True)):
        differs = row >= len(modalities)
        for column, axes in enumerate(axes_row):
            limit = reach[int(differs)]
            color_map = "PuOr_r" if differs else "RdBu_r"
            image = panel(axes, shown[row, column], window=(-limit, limit), cmap=color_map, aspect="auto")
            axes.set_axis_on()
            axes.set_facecolor(GRID)  # shows where a class is not there
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                caption(axes, classes[column])
        axes_row[0].set_ylabel(plain(name), color=INK, fontsize=9)
        if row in (len(modalities) - 1, len(names) - 1):
            group = grid[len(modalities) :] if differs else grid[: len(modalities)]
            color_bar(figure, image, list(group.ravel()))
    heading(figure, title)
    return figure


def class_feature_figure(
    images: Mapping[str, ArrayLike],
    features: Mapping[str, ArrayLike],
    labels: Mapping[str, ArrayLike],
    classes: Mapping[int, str],
    *,
    title: str = "",
) -> Figure:
    """For each class the channel that tells it best from the rest, over one slice of each modality.

    Use it to see whether intermediate features are salient in the region of a class, and by the same channels in all
    modalities. A channel tells a class by the difference of its means inside and outside in units of its standard
    deviation, averaged over the modalities.

    Args:
        images: modality to a slice ``(H, W)``.
        features: modality to features of a layer on that slice, ``(P, h, w)``.
        labels: modality to class indices ``(H, W)``.
        classes: value to name, background included.
        title: heading of the figure.

    Returns:
        The figure: a row a modality; the image with the outlines of the classes, then one panel a class.

    Raises:
        ValueError: when names or shapes do not fit.

    Reference:
        Chen et al., MICCAI 2020, arXiv:2101.01513: Fig. 2.
    """
    if not images or not images.keys() == features.keys() == labels.keys():
        raise ValueError(
            f"images, features and labels must have the same modalities, got {sorted(images)}, {sorted(features)} and "
            f"{sorted(labels)}."
        )
    maps = {name: np.asarray(value, dtype=np.float64) for name, value in features.items()}
    truths = {name: np.asarray(value) for name, value in labels.items()}
    if len({value.shape[0] for value in maps.values()}) != 1 or any(value.ndim != 3 for value in maps.values()):
        raise ValueError(
            f"features must have shape (P, h, w) with one P, got {[value.shape for value in maps.values()]}."
        )
    found = {value: _telling(maps, truths, value) for value in classes}
    figure = new_figure(1.7 * (len(classes) + 1), 1.75 * len(images) + 0.5, gap=0.02)
    grid = figure.subplots(len(images), len(classes) + 1, squeeze=False)
    for row, name in enumerate(images):
        panel(grid[row, 0], np.asarray(images[name]))
        contours(grid[row, 0], truths[name], [value for value in classes if value])
        side_caption(grid[row, 0], name)
        for column, (value, text) in enumerate(classes.items(), start=1):
            axes = grid[row, column]
            sign, channel = found[value]
            size = truths[name].shape
            panel(axes, sign * maps[name][channel], cmap="magma", extent=(-0.5, size[1] - 0.5, size[0] - 0.5, -0.5))
            if (truths[name] == value).any() and value:
                contours(axes, truths[name], [value], width=0.9)
            if row == 0:
                caption(axes, f"{text}\nchannel {channel}{', inverted' if sign < 0 else ''}", size=8)
    heading(figure, title)
    return figure


def _telling(
    maps: Mapping[str, NDArray[np.float64]], truths: Mapping[str, NDArray[np.generic]], value: int
) -> tuple[int, int]:
    """Sign and number of the channel that is brightest in a class, over modalities that hold it."""
    contrasts = []
    for name, features in maps.items():
        mask = _nearest(truths[name] == value, features.shape[1:]).ravel()
        if mask.any() and not mask.all():
            rows = features.reshape(len(features), -1)
            spread = np.maximum(rows.std(1), 1e-12)
            contrasts.append((rows[:, mask].mean(1) - rows[:, ~mask].mean(1)) / spread)
    if not contrasts:
        return 1, 0
    mean = np.mean(contrasts, axis=0)
    channel = int(np.abs(mean).argmax())
    return (1 if mean[channel] >= 0 else -1), channel


def _nearest(mask: NDArray[np.bool_], grid: tuple[int, ...]) -> NDArray[np.bool_]:
    rows, columns = (np.arange(wanted) * size // wanted for size, wanted in zip(mask.shape, grid, strict=True))
    return mask[np.ix_(rows, columns)]


def _order(matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows by their place along the direction in which they differ most."""
    centred = matrix - matrix.mean(0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    return np.argsort(left[:, 0] * scale[0], kind="stable")
