# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a missing modality costs: a heat map with a row for each subset of the modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.evaluation.subset_rows import measure_of
from monai_mmseg.evaluation.subset_table import SubsetTable
from monai_mmseg.visualize.figure import GRID, INK, QUIET, heading, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, COLUMN = 0.27, 0.85  # inches
LEAST = {"dice": 0.1, "psnr": 1.0, "ssim": 0.05, "original_psnr": 1.0, "original_ssim": 0.05}  # that a scale spans


def subset_figure(table: SubsetTable, *, measures: Sequence[str] | None = None, title: str = "") -> Figure:
    """Means of each subset as a heat map, beside dots that say which modalities are there.

    Use it to see at a glance which sequences a method can do without, and to set methods side by side. Light is better
    in every block of columns; a block has a colour scale of its own, which spans at least 0.1 of Dice, 1 dB of PSNR,
    0.05 of SSIM or 1 mm, so that what hardly differs looks alike.

    Args:
        table: of one or several methods.
        measures: which ones, such as ``["dice", "dice/core", "hausdorff95"]``; ``None``: all.
        title: heading of the figure.

    Returns:
        The figure: a row a subset, all modalities on top; a block of columns a measure, in it a column a class and
        method.

    Raises:
        ValueError: an empty table, or a measure that it does not have.
    """
    shown = list(measures) if measures is not None else table.measures
    if not shown or (unknown := sorted(set(shown) - set(table.measures))):
        raise ValueError(f"measures must be of the table's {table.measures}, got {shown if not shown else unknown}.")
    lines = {(line.method, line.subset): line for line in table.summary()}
    subsets, methods = table.subsets, table.methods
    blocks: dict[str, list[tuple[str, str]]] = {}  # measure without class: (name, method) of its columns
    for name in shown:
        blocks.setdefault(name.partition("/")[0], []).extend((name, method) for method in methods)
    widths = [max(0.26 * len(table.modalities), 0.8), *(COLUMN * len(columns) + 0.15 for columns in blocks.values())]
    figure = new_figure(sum(widths) + 0.4, ROW * len(subsets) + 1.75, gap=0.01)
    axes_row = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    _dots(axes_row[0], table, subsets)
    for axes, (base, columns) in zip(axes_row[1:], blocks.items(), strict=True):
        values = np.full((len(subsets), len(columns)), np.nan)
        for row, subset in enumerate(subsets):
            for column, (name, method) in enumerate(columns):
                line = lines.get((method, subset))
                if line is not None and name in line.measures:
                    values[row, column] = line.measures[name].mean
        texts = [_column(name, method, base, several=len(methods) > 1) for name, method in columns]
        _heat(axes, values, texts, base)
    heading(figure, title)
    return figure


def _dots(axes: Axes, table: SubsetTable, subsets: Sequence[tuple[str, ...]]) -> None:
    count = len(table.modalities)
    rows, columns = np.mgrid[: len(subsets), :count].reshape(2, -1)
    there = np.array([[name in subset for name in table.modalities] for subset in subsets]).ravel()
    axes.scatter(columns[there], rows[there], c=INK, s=34, linewidths=0)
    axes.scatter(columns[~there], rows[~there], c=GRID, s=34, linewidths=0)
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_facecolor("none")
    _frame(axes, len(subsets), list(table.modalities))


def _heat(axes: Axes, values: NDArray[np.float64], texts: Sequence[str], base: str) -> None:
    about = measure_of(base)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    reach = max(high - low, LEAST.get(base, 1.0))
    shade = 0.5 + (values - (low + high) / 2) / reach
    shade = shade if about.higher else 1 - shade
    axes.set_facecolor(GRID)
    axes.imshow(shade, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            color = "#14161A" if shade[row, column] > 0.55 else INK
            text = f"{value:.{about.digits}f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7.5)
    _frame(axes, len(values), texts)
    unit = f" [{about.unit}]" if about.unit else ""
    axes.set_xlabel(plain(f"{about.heading}{unit}"), color=INK, fontsize=9)


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


def _column(name: str, method: str, base: str, *, several: bool) -> str:
    part = name.partition("/")[2] or ("mean" if base in ("dice", "hausdorff95") else "")
    return ", ".join(text for text in (method if several else "", part) if text) or method
