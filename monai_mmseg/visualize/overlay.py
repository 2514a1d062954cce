# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Predictions and labels drawn on images: single cases, and the best, median and worst of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.visualize.figure import (
    INK,
    LABEL_STYLE,
    LineStyle,
    contours,
    corner_caption,
    display_window,
    fitted,
    focus,
    heading,
    label_legend,
    new_figure,
    panel,
    pick_slices,
    plain,
    side_caption,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LEAST_COLUMNS = 2  # what titles and legend need, also where there is one slice


class Case(NamedTuple):
    """One subject for a picture; all volumes in display orientation (rows, columns, slices)."""

    title: str
    image: NDArray[np.floating]  # (H, W, D)
    label: NDArray[np.integer] | None = None  # (H, W, D)
    prediction: NDArray[np.integer] | None = None  # (H, W, D)
    spacing: tuple[float, float] = (1.0, 1.0)  # mm, rows and columns
    window: tuple[float, float] | None = None  # darkest and brightest value; None: of what is shown


def best_median_worst(scores: Mapping[str, float]) -> dict[str, str]:
    """Which subjects to show so that a picture does not flatter: the best, the median and the worst one.

    Args:
        scores: subject to score, higher is better.

    Returns:
        ``"best"``, ``"median"``, ``"worst"`` to subject; fewer entries for fewer than three subjects (the worst stays).

    Raises:
        ValueError: no subject.

    Examples:
        >>> best_median_worst({"a": 0.9, "b": 0.2, "c": 0.7, "d": 0.8})
        {'best': 'a', 'median': 'c', 'worst': 'b'}
    """
    if not scores:
        raise ValueError("scores must hold at least one subject, got none.")
    order = sorted(scores, key=lambda subject: (-scores[subject], subject))
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    if len(order) == 1:
        return {"worst": order[0]}
    return chosen if len(order) > 2 else {"best": order[0], "worst": order[-1]}


def overlay_figure(
    cases: Sequence[Case], labels: Mapping[int, str], *, slices: int = 5, zoom: bool = True, title: str = ""
) -> Figure:
    """Cases below each other, each as the plain slices and the same slices with contours.

    Use it for best, median and worst case, so that every coloured line can be judged against the plain image above it.
    A class has one colour: its prediction is a solid line, its label a dashed one. Each case has its own slices: evenly
    spread over the label, and the one where prediction and label differ most.

    Args:
        cases: one or more cases; a case without label or prediction is drawn without that line.
        labels: value to name, background 0 included or not.
        slices: columns at most.
        zoom: cut to the surroundings of label and prediction.
        title: heading of the figure.

    Returns:
        The figure, two rows of panels per case.

    Raises:
        ValueError: no case, or volumes of one case with different shapes.
    """
    if not cases:
        raise ValueError("cases must hold at least one case, got none.")
    plans = [_plan(case, slices, zoom) for case in cases]
    columns = max(LEAST_COLUMNS, *(len(picked) for picked, _ in plans))
    heights = [_aspect_height(case, view) for case, (_, view) in zip(cases, plans, strict=True) for _ in range(2)]
    width = 1.75 * columns + 0.4
    titles = [fitted(case.title, width - 0.4, size=11) for case in cases]
    room = 0.17 * sum(text.count("\n") for text in titles) + 0.2 * fitted(title, width, size=12).count("\n")
    figure = new_figure(width, sum(1.75 * height for height in heights) + 0.3 * len(cases) + room + 0.8)
    grid = figure.subplots(2 * len(cases), columns, squeeze=False, height_ratios=heights)
    values = [value for value in labels if value != 0]
    for row, (case, (picked, view)) in enumerate(zip(cases, plans, strict=True)):
        window = case.window or display_window(case.image[view])
        ratio = case.spacing[0] / case.spacing[1]
        for column in range(columns):
            above, below = grid[2 * row, column], grid[2 * row + 1, column]
            above.set_axis_off()
            below.set_axis_off()
            if column >= len(picked):
                continue
            at = (*view, picked[column])
            for axes in (above, below):
                panel(axes, case.image[at], window=window, aspect=ratio)
            if case.prediction is not None:
                contours(below, case.prediction[at], values, width=1.4)
            if case.label is not None:
                contours(below, case.label[at], values, width=1.4, style=LABEL_STYLE)
            corner_caption(above, f"slice {picked[column] + 1}")
        grid[2 * row, 0].set_title(plain(titles[row]), loc="left", color=INK, fontsize=10, pad=5, fontweight="bold")
        side_caption(grid[2 * row, 0], "image", size=8)
        side_caption(grid[2 * row + 1, 0], "contours", size=8)
    drawn: dict[str, tuple[str, LineStyle]] = {}
    if any(case.prediction is not None for case in cases):
        drawn["prediction"] = (INK, "-")
    if any(case.label is not None for case in cases):
        drawn["label"] = (INK, LABEL_STYLE)
    label_legend(figure, labels, lines=drawn)
    heading(figure, title)
    return figure


def _plan(case: Case, count: int, zoom: bool) -> tuple[list[int], tuple[slice, slice]]:
    shape = case.image.shape
    if len(shape) != 3:
        raise ValueError(f"image must have shape (H, W, D), got {shape} ({case.title}).")
    both = np.zeros(shape, dtype=bool)
    for name, volume in (("label", case.label), ("prediction", case.prediction)):
        if volume is not None:
            if volume.shape != shape:
                raise ValueError(f"{name} must have the shape of the image {shape}, got {volume.shape} ({case.title}).")
            both |= volume > 0
    picked = pick_slices(case.label if case.label is not None and case.label.any() else both, shape[2], count)
    if case.label is not None and case.prediction is not None:
        picked = _with_largest_difference(picked, (case.label != case.prediction).sum((0, 1)))
    everything = (slice(0, shape[0]), slice(0, shape[1]))
    return picked, focus(both) if zoom else everything


def _with_largest_difference(picked: list[int], differing: NDArray[np.integer]) -> list[int]:
    """Slices of which the nearest one has given way to that with most differing pixels."""
    worst = int(differing.argmax())
    if not differing[worst] or worst in picked:
        return picked
    nearest = min(picked, key=lambda at: abs(at - worst))
    return sorted([worst, *(at for at in picked if at != nearest)])


def _aspect_height(case: Case, view: tuple[slice, slice]) -> float:
    rows, columns = (span.stop - span.start for span in view)
    return min(2.0, max(0.4, rows * case.spacing[0] / (columns * case.spacing[1])))
