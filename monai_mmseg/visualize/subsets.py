# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a missing modality costs: a heat map with a row for each subset of the modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from monai_mmseg.visualize.figure import GRID, INK, QUIET, heading, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, COLUMN = 0.27, 0.85  # inches

Subset = tuple[str, ...]


class SubsetBlock(NamedTuple):
    """Columns that share a colour scale: one measure of several methods and classes."""

    title: str  # with the unit
    columns: Mapping[str, Mapping[Subset, float]]  # heading to (subset to mean)
    higher: bool = True  # whether a higher value is better
    digits: int = 3
    least: float = 1.0  # that the scale spans, so that what hardly differs looks alike


def subset_figure(modalities: Sequence[str], blocks: Sequence[SubsetBlock], *, title: str = "") -> Figure:
    """Means of each subset as a heat map, beside dots that say which modalities are there.

    Use it to see at a glance which sequences a method can do without, and to set methods side by side. Light is better
    in every block of columns; :func:`~monai_mmseg.report.subset_blocks` makes them of a table.

    Args:
        modalities: all names.
        blocks: of columns.
        title: heading of the figure.

    Returns:
        The figure: a row a subset that has a value, all modalities on top; what has no value is empty.

    Raises:
        ValueError: there is no value.
    """
    found = {subset for block in blocks for column in block.columns.values() for subset in column}
    if not found:
        raise ValueError("blocks must hold at least one value, got none.")
    place = {name: at for at, name in enumerate(modalities)}
    subsets = sorted(found, key=lambda subset: (-len(subset), [place[name] for name in subset]))
    widths = [max(0.26 * len(modalities), 0.8), *(COLUMN * len(block.columns) + 0.15 for block in blocks)]
    figure = new_figure(sum(widths) + 0.4, ROW * len(subsets) + 1.75, gap=0.01)
    axes_row = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    _dots(axes_row[0], modalities, subsets)
    for axes, block in zip(axes_row[1:], blocks, strict=True):
        _heat(axes, block, subsets)
    heading(figure, title)
    return figure


def _dots(axes: Axes, modalities: Sequence[str], subsets: Sequence[Subset]) -> None:
    count = len(modalities)
    rows, columns = np.mgrid[: len(subsets), :count].reshape(2, -1)
    present = np.array([[name in subset for name in modalities] for subset in subsets]).ravel()
    axes.scatter(columns[present], rows[present], c=INK, s=34, linewidths=0)
    axes.scatter(columns[~present], rows[~present], c=GRID, s=34, linewidths=0)
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_facecolor("none")
    _frame(axes, len(subsets), list(modalities))


def _heat(axes: Axes, block: SubsetBlock, subsets: Sequence[Subset]) -> None:
    values = np.array([[column.get(subset, np.nan) for column in block.columns.values()] for subset in subsets])
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    shade = 0.5 + (values - (low + high) / 2) / max(high - low, block.least)
    shade = shade if block.higher else 1 - shade
    axes.set_facecolor(GRID)
    axes.imshow(shade, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            color = "#14161A" if shade[row, column] > 0.55 else INK
            text = f"{value:.{block.digits}f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7.5)
    _frame(axes, len(values), list(block.columns))
    axes.set_xlabel(plain(block.title), color=INK, fontsize=9)


def _frame(axes: Axes, rows: int, names: Sequence[str]) -> None:
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.xaxis.tick_top()
    texts = [plain(name) for name in names]
    axes.set_xticks(range(len(names)), labels=texts, rotation=45, ha="left", rotation_mode="anchor")
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
    for label in axes.get_xticklabels():
        label.set_color(INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
