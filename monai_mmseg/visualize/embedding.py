# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Points in two dimensions with their groups: codes by modality, anatomies by subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from monai.utils import optional_import
from numpy.typing import ArrayLike, NDArray

from monai_mmseg.visualize.figure import INK, LABEL_COLORS, QUIET, heading, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Line2D, _ = optional_import("matplotlib.lines", name="Line2D")

PANEL = "#1D2025"
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">")
MOST = 16  # entries of a legend


class EmbeddingPanel(NamedTuple):
    """One panel of :func:`embedding_figure`."""

    title: str
    points: ArrayLike  # (N, 2)
    colors: Sequence[str]  # name of each row's group that is told by colour
    markers: Sequence[str] | None = None  # name of each row's group that is told by its marker
    notes: Sequence[str] = ()  # lines beside the panel, such as silhouettes


def embedding_figure(panels: Sequence[EmbeddingPanel], *, title: str = "") -> Figure:
    """Points side by side, each with its groups and the numbers that say how well they cluster.

    Use it with :func:`~monai_mmseg.metrics.embed` and :func:`~monai_mmseg.metrics.silhouettes`: codes coloured by
    modality should form one cluster each, anatomies coloured by subject too, with all modalities mixed in each. Axes
    have no unit: how far apart clusters are means nothing.

    Args:
        panels: what is drawn.
        title: heading of the figure.

    Returns:
        The figure, a legend below each panel.

    Raises:
        ValueError: no panel, or groups that do not fit the points.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: Fig. 3.
    """
    if not panels:
        raise ValueError("panels must hold at least one, got none.")
    figure = new_figure(4.3 * len(panels), 5.0, gap=0.04)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, one in zip(grid, panels, strict=True):
        points: NDArray[np.float64] = np.asarray(one.points, dtype=np.float64)
        given = [one.colors, *([] if one.markers is None else [one.markers])]
        if points.ndim != 2 or points.shape[1] != 2 or any(len(names) != len(points) for names in given):
            raise ValueError(
                f"panel {one.title!r} must have points (N, 2) and a group for each, got {points.shape} and "
                f"{[len(names) for names in given]}."
            )
        _draw(axes, one, points)
    heading(figure, title)
    return figure


def _draw(axes: Axes, one: EmbeddingPanel, points: NDArray[np.float64]) -> None:
    axes.set_facecolor(PANEL)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    colors = {name: LABEL_COLORS[at % len(LABEL_COLORS)] for at, name in enumerate(dict.fromkeys(one.colors))}
    kinds = one.markers if one.markers is not None else ["" for _ in one.colors]
    shapes = {name: MARKERS[at % len(MARKERS)] for at, name in enumerate(dict.fromkeys(kinds))}
    for (color, kind), rows in _groups(one.colors, kinds).items():
        x, y = points[rows].T
        axes.scatter(x, y, c=colors[color], marker=shapes[kind], s=16, alpha=0.85, linewidths=0)
    axes.margins(0.06)
    axes.set_title(plain(one.title), color=INK, fontsize=9, loc="left", pad=4)
    handles = [_dot(name, color=color, marker="o") for name, color in colors.items()]
    if one.markers is not None:
        handles += [_dot(name, color=QUIET, marker=shape) for name, shape in shapes.items()]
    more = len(handles) - MOST
    handles = handles[:MOST] + ([_dot(f"and {more} more", color="none", marker="o")] if more > 0 else [])
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, -0.01),
        ncols=4,
        frameon=False,
        labelcolor=INK,
        fontsize=7.5,
        handletextpad=0.1,
        columnspacing=0.8,
    )
    below = 14 + 13 * -(-len(handles) // 4)  # points that the legend takes
    axes.set_xlabel(plain("\n".join(one.notes)), color=INK, fontsize=8.5, loc="left", labelpad=below)


def _groups(colors: Sequence[str], kinds: Sequence[str]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for row, pair in enumerate(zip(colors, kinds, strict=True)):
        found.setdefault(pair, []).append(row)
    return found


def _dot(name: str, *, color: str, marker: str) -> Any:
    return _Line2D([], [], color=color, marker=marker, ls="", ms=5, label=plain(name))
