# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves of every loss term over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from monai_mmseg.visualize.figure import INK, LABEL_COLORS, QUIET, heading, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves_figure(
    epochs: Sequence[float], terms: Mapping[str, Sequence[float | None]], *, columns: int = 4, title: str = ""
) -> Figure:
    """One small panel a term, so that terms of very different size can all be read.

    Use it after training: a term that never moves, or only rises, is seen at once.

    Args:
        epochs: x axis.
        terms: ``"<phase>/<term>"`` to values, one an epoch; ``None`` and NaN are gaps.
        columns: panels a row at most.
        title: heading of the figure.

    Returns:
        The figure; terms of one phase share a colour.

    Raises:
        ValueError: no term, or a term with another number of values than there are epochs.
    """
    if not terms:
        raise ValueError("terms must hold at least one term, got none.")
    if odd := [name for name, values in terms.items() if len(values) != len(epochs)]:
        raise ValueError(f"terms must have one value an epoch ({len(epochs)}), got others for {odd}.")
    across = min(columns, len(terms))
    down = math.ceil(len(terms) / across)
    phases = list(dict.fromkeys(name.rpartition("/")[0] for name in terms))
    figure = new_figure(2.7 * across, 1.7 * down + 0.5, gap=0.05)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid[len(terms) :]:
        axes.set_axis_off()
    for axes, (name, values) in zip(grid, terms.items(), strict=False):
        color = LABEL_COLORS[phases.index(name.rpartition("/")[0]) % len(LABEL_COLORS)]
        line = [math.nan if value is None else float(value) for value in values]
        axes.plot(epochs, line, color=color, lw=1.5, marker="o" if len(line) < 3 else None, ms=3)
        axes.set_title(plain(name), color=INK, fontsize=9, loc="left", pad=4)
        axes.set_facecolor("#1D2025")
        axes.tick_params(colors=QUIET, labelsize=7, length=2)
        axes.grid(color="#343A42", lw=0.5)
        axes.locator_params(nbins=5)
        axes.margins(x=0.02)
        for spine in axes.spines.values():
            spine.set_visible(False)
    for axes in grid[max(0, len(terms) - across) : len(terms)]:
        axes.set_xlabel("epoch", color=QUIET, fontsize=8)
    heading(figure, title)
    return figure
