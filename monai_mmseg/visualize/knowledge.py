# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Distillation between modalities: what is taken for what, how far apart they are, and which weight is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_mmseg.visualize.figure import (
    GRID,
    INK,
    LABEL_COLORS,
    QUIET,
    REFERENCE_COLOR,
    caption,
    color_bar,
    heading,
    new_figure,
    panel,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = "#1D2025"


def knowledge_figure(
    epochs: Sequence[float],
    matrices: ArrayLike,
    modalities: Sequence[str],
    classes: Sequence[str],
    *,
    columns: int = 5,
    title: str = "",
) -> Figure:
    """Heat maps of the knowledge matrices over training: a row a modality, and rows of their differences.

    Use it to see which classes are taken for which in one modality and not in the other, and whether distillation
    brings the two together. All matrices share one colour scale and all differences another.

    Args:
        epochs: of the matrices, shape ``(E,)``.
        matrices: softened probabilities, shape ``(E, M, K, K)``; a row is a true class. NaN stays empty.
        modalities: M names.
        classes: K names.
        columns: epochs shown at most, evenly spread, the first and the last among them.
        title: heading of the figure.

    Returns:
        The figure: a row of panels for each modality and, below, for each further modality minus the first.

    Raises:
        ValueError: when the shapes do not fit, or there is no epoch.
    """
    values: NDArray[np.float64] = np.asarray(matrices, dtype=np.float64)
    count, size = len(modalities), len(classes)
    if not len(epochs) or values.shape != (len(epochs), count, size, size):
        raise ValueError(
            f"matrices must have shape {(len(epochs), count, size, size)} for {len(epochs)} epochs (at least one), "
            f"{count} modalities and {size} classes, got {values.shape}."
        )
    shown = np.unique(np.linspace(0, len(epochs) - 1, min(max(columns, 1), len(epochs))).round().astype(int))
    chosen = values[shown]
    rows = np.concatenate([chosen, chosen[:, 1:] - chosen[:, :1]], axis=1)
    names = [*modalities, *(f"{name} − {modalities[0]}" for name in modalities[1:])]
    reach = max(float(np.nanmax(np.abs(rows[:, count:]), initial=0.0)), 1e-3)
    side = 1.2 + 0.12 * size
    figure = new_figure(side * len(shown) + 1.5, side * len(names) + 0.8, gap=0.02)
    grid = figure.subplots(len(names), len(shown), squeeze=False)
    for row, (axes_row, name) in enumerate(zip(grid, names, strict=True)):
        differs = row >= count
        settings: dict[str, Any] = {"window": (-reach, reach), "cmap": "PuOr_r"} if differs else {"window": (0, 1)}
        for column, axes in enumerate(axes_row):
            image = panel(axes, rows[column, row], **{"cmap": "magma", **settings})
            _class_ticks(axes, classes, left=column == 0, below=row == len(names) - 1)
            if row == 0:
                caption(axes, f"epoch {epochs[shown[column]]:g}")
        axes_row[0].set_ylabel(plain(name), color=INK, fontsize=9)
        if row in (count - 1, len(names) - 1):
            group = grid[:count] if not differs else grid[count:]
            color_bar(figure, image, list(group.ravel()))
    heading(figure, title)
    return figure


def distillation_curve_figure(
    runs: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    ylabel: str = "distillation loss, validation",
    title: str = "",
) -> Figure:
    """The distillation loss of several trainings over the epochs, in one panel.

    Use it to compare a training with distillation to one without, on validation data: without, the modalities may
    drift apart.

    Args:
        runs: name of the training to (epochs, values); NaN is a gap.
        ylabel: what is drawn.
        title: heading of the figure.

    Returns:
        The figure; one line a run.

    Raises:
        ValueError: no run, or a run with another number of values than epochs.
    """
    if not runs:
        raise ValueError("runs must hold at least one training, got none.")
    if odd := [name for name, (epochs, values) in runs.items() if len(epochs) != len(values)]:
        raise ValueError(f"runs must have one value an epoch, got others for {odd}.")
    figure = new_figure(5.6, 3.4)
    axes = figure.subplots()
    _dark(axes)
    for number, (name, (epochs, values)) in enumerate(runs.items()):
        axes.plot(
            epochs,
            values,
            color=LABEL_COLORS[number % len(LABEL_COLORS)],
            ls=("-", "--", ":")[number // len(LABEL_COLORS) % 3],
            lw=1.6,
            marker="o" if len(epochs) < 3 else None,
            ms=3,
            label=plain(name),
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch", color=QUIET, fontsize=8)
    axes.set_ylabel(plain(ylabel), color=QUIET, fontsize=8)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    heading(figure, title)
    return figure


def weight_boxes_figure(
    scores: Mapping[str, Mapping[float, Sequence[float]]],
    baselines: Mapping[str, float] | None = None,
    *,
    xlabel: str = "weight of the distillation",
    ylabel: str = "Dice",
    baseline_name: str = "individual",
    title: str = "",
) -> Figure:
    """Box plots of scores over a swept setting, a panel a modality.

    Use it for the weight of the distillation (or its temperature): whether the choice matters, and whether every choice
    beats the baseline. Each score is drawn as a point too.

    Args:
        scores: modality to (setting to scores, one a subject or run).
        baselines: modality to the score that is drawn as a line.
        xlabel: what is swept.
        ylabel: what is scored.
        baseline_name: name of the line.
        title: heading of the figure.

    Returns:
        The figure; panels share the axis of scores.

    Raises:
        ValueError: no modality, a modality without settings, a setting without scores, or a baseline of no modality.
    """
    if not scores or not all(scores.values()):
        raise ValueError(f"scores must hold settings for at least one and every modality, got {sorted(scores)}.")
    if empty := [(m, setting) for m, found in scores.items() for setting, values in found.items() if not len(values)]:
        raise ValueError(f"scores must hold at least one score for each setting, got none for {empty}.")
    lines = dict(baselines or {})
    if unknown := sorted(lines.keys() - scores.keys()):
        raise ValueError(f"baselines must be of the modalities {list(scores)}, got {unknown} too.")
    widest = max(len(found) for found in scores.values())
    figure = new_figure(max(2.6, 0.42 * widest + 1) * len(scores) + 0.4, 3.2, gap=0.04)
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for number, (axes, (modality, found)) in enumerate(zip(panels, scores.items(), strict=True)):
        _dark(axes)
        settings, color = sorted(found), LABEL_COLORS[number % len(LABEL_COLORS)]
        style = {"color": color, "lw": 1.2}
        axes.boxplot(
            [list(found[setting]) for setting in settings],
            positions=range(len(settings)),
            widths=0.55,
            showfliers=False,
            boxprops=style,
            whiskerprops=style,
            capprops=style,
            medianprops={"color": INK, "lw": 1.6},
        )
        for at, setting in enumerate(settings):
            axes.plot([at] * len(found[setting]), list(found[setting]), "o", color=color, ms=2.5, alpha=0.6)
        if modality in lines:
            axes.axhline(lines[modality], color=REFERENCE_COLOR, ls="--", lw=1, label=plain(baseline_name))
            axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="best")
        axes.set_xticks(range(len(settings)), labels=[f"{setting:g}" for setting in settings])
        axes.set_xlim(-0.6, len(settings) - 0.4)
        axes.set_xlabel(plain(xlabel), color=QUIET, fontsize=8)
        axes.set_title(plain(modality), color=INK, fontsize=9, loc="left", pad=4)
    panels[0].set_ylabel(plain(ylabel), color=QUIET, fontsize=8)
    heading(figure, title)
    return figure


def _dark(axes: Axes) -> None:
    axes.set_facecolor(PANEL)
    axes.tick_params(colors=QUIET, labelsize=7, length=2)
    axes.grid(color=GRID, lw=0.5)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _class_ticks(axes: Axes, classes: Sequence[str], *, left: bool, below: bool) -> None:
    """Names of the classes: true ones to the left of the first panel, taken-for ones below the last."""
    axes.set_axis_on()
    axes.set_facecolor(GRID)  # shows where a class is not there
    places, names = range(len(classes)), [plain(name) for name in classes]
    axes.set_yticks(places, labels=names if left else [])
    axes.set_xticks(places, labels=names if below else [], rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(colors=QUIET, labelsize=7, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
