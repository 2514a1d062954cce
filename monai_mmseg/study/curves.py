# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves of a study as inline SVG: validation over training time, scores over the number of labels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monai_mmseg.evaluation.score import MEASURES
from monai_mmseg.metrics.significance import Interval
from monai_mmseg.runs.run_folder import TERMS
from monai_mmseg.runs.terms import read_terms
from monai_mmseg.study.content import Setting
from monai_mmseg.study.plots import nice_ticks
from monai_mmseg.study.statistics import summarise
from monai_mmseg.visualize import LABEL_COLORS, label_color

VALIDATION = "validation/val_"
SIZE, ROOM = (460, 270), (48, 20, 10, 38)  # width and height; left, right, top, bottom
NUMBER = re.compile(r"^(?P<stem>.*?)[_-]?(?P<number>\d+(?:\.\d+)?)$")


class Style(NamedTuple):
    """How the lines of a method look."""

    color: str  # #RRGGBB
    dashed: bool


class Line(NamedTuple):
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    color: str
    dashed: bool = False
    strong: bool = False
    intervals: Sequence[Interval | None] = ()  # one a point


def method_styles(settings: Sequence[Setting], lead: str | None) -> dict[str, Style]:
    """Colour of each method that has scores and whether its lines are dashed; the first eight are not.

    Args:
        settings: all of a study.
        lead: method of interest, which gets the first colour.

    Returns:
        Method to style.
    """
    names = dict.fromkeys(cell.method for setting in settings for cell, _ in setting.tables)
    order = sorted(names, key=lambda name: name != lead)
    return {name: Style(label_color(at + 1), at >= len(LABEL_COLORS)) for at, name in enumerate(order)}


def line_plot(
    lines: Sequence[Line],
    *,
    across: str,
    down: str,
    ticks: Mapping[float, str] | None = None,
    most: float | None = None,
) -> str:
    """Lines with common axes.

    Args:
        lines: at least one point among them.
        across: name of the horizontal axis.
        down: name of the vertical axis.
        ticks: texts at places of the horizontal axis; ``None``: round numbers.
        most: upper end of the vertical axis.

    Returns:
        An ``<svg>`` element.

    Raises:
        ValueError: no point.

    Examples:
        >>> line_plot([Line("a", [(0, 0.5), (1, 0.75)], "#E69F00")], across="steps", down="Dice").count("<polyline")
        2
    """
    points = [point for line in lines for point in line.points]
    if not points:
        raise ValueError("lines must hold at least one point, got none.")
    (width, height), (left, right, top, bottom) = SIZE, ROOM
    ends = [end for line in lines for one in line.intervals if one for end in (one.low, one.high)]
    levels = nice_ticks(min([*ends, *(y for _, y in points)]), max([*ends, *(y for _, y in points), most or -math.inf]))
    places = list(ticks) if ticks else nice_ticks(0.0, max(x for x, _ in points), most=5)
    span = max(places) - min(places) or 1.0
    inset = 24 if ticks else 0

    def x(value: float) -> float:
        return left + inset + (value - min(places)) / span * (width - left - right - 2 * inset)

    def y(value: float) -> float:
        return top + (levels[-1] - value) / (levels[-1] - levels[0]) * (height - top - bottom)

    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(down)}">']
    for level in levels:
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y(level) + 4:.1f}" text-anchor="end">{level:g}</text>')
    for place in places:
        text = ticks[place] if ticks else f"{place:g}"
        where = f'x="{x(place):.1f}" y="{height - bottom + 16}" text-anchor="middle"'
        parts.append(f'<text class="tick" {where}>{escape(text)}</text>')
    middle = f'x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle"'
    parts.append(f'<text class="tick" {middle}>{escape(across)}</text>')
    parts.append(
        f'<text class="tick" transform="translate(12 {(top + height - bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(down)}</text>'
    )
    for line in lines:
        parts += _line(line, [(x(a), y(b)) for a, b in line.points])
        for (a, _), one in zip(line.points, line.intervals, strict=False):
            if one:
                parts.append(
                    f'<line class="interval" style="stroke: {line.color}" x1="{x(a):.1f}" x2="{x(a):.1f}" '
                    f'y1="{y(one.low):.1f}" y2="{y(one.high):.1f}"/>'
                )
    return "".join([*parts, "</svg>"])


def _line(line: Line, points: Sequence[tuple[float, float]]) -> list[str]:
    title, dashes = f"<title>{escape(line.name)}</title>", "; stroke-dasharray: 5 4" if line.dashed else ""
    parts = []
    if len(points) > 1:
        where = f'points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"'
        if not line.dashed:  # light colours need an edge on a light page
            parts.append(f'<polyline class="line under" {where}/>')
        style = f'style="stroke: {line.color}; stroke-width: {3 if line.strong else 1.8}{dashes}"'
        parts.append(f'<polyline class="line" {style} {where}>{title}</polyline>')
    if len(points) == 1 or line.intervals:
        parts += [
            f'<circle class="dot edged" style="fill: {line.color}" cx="{a:.1f}" cy="{b:.1f}" r="4">{title}</circle>'
            for a, b in points
        ]
    return parts


# -- learning -----------------------------------------------------------------------------------------------------


def learning_charts(setting: Setting, styles: Mapping[str, Style], lead: str | None) -> list[tuple[str, str]]:
    """Validation of every training, over its time and over its steps.

    Epochs are taken to last equally long within a training.

    Args:
        setting: with any cells.
        styles: of :func:`method_styles`.
        lead: method drawn thicker.

    Returns:
        Title and ``<svg>`` of each; empty where no cell has such a curve.
    """
    known = [one for one in setting.cells if one.cell.method in styles]
    found = [(one, *curve) for one in known if (curve := _validation(one.folder))]
    found = [one for one in found if one[1] == found[0][1]]  # one metric a chart
    charts = []
    for title, across, ends in (
        ("Over the time of training", "minutes", [one.seconds.get("training", 0.0) / 60 for one, *_ in found]),
        ("Over the steps of training", "steps", [float(one.steps) for one, *_ in found]),
    ):
        lines = []
        for (one, _, last, points), end in zip(found, ends, strict=True):
            if end:
                color, dashed = styles[one.cell.method]
                name = f"{one.cell.method}, fold {one.cell.fold}, seed {one.cell.seed}"
                where = [(epoch / last * end, value) for epoch, value in points]
                lines.append(Line(name, where, color, dashed, one.cell.method == lead))
        if lines:
            measure = found[0][1].replace("_", " ").replace("dice", "Dice")
            charts.append((title, line_plot(lines, across=across, down=f"validation: {measure}")))
    return charts


def _validation(folder: Path) -> tuple[str, int, list[tuple[int, float]]] | None:
    """Name of the validation metric of a run, its last epoch, and the curve."""
    places = [folder / TERMS, *sorted(folder.glob(f"*/{TERMS}"))]  # of several runs in one cell the last one segments
    for path in [place for place in places if place.is_file()]:
        try:
            epochs, terms = read_terms(path)
        except (OSError, ValueError):
            continue
        known = [name for name in terms if name.startswith(VALIDATION)]
        for name in sorted(known, key=lambda name: name != f"{VALIDATION}mean_dice"):
            points = [(e, v) for e, v in zip(epochs, terms[name], strict=True) if v is not None and math.isfinite(v)]
            if points and epochs[-1] > 0:
                return name.removeprefix(VALIDATION), epochs[-1], points
    return None


# -- labels saved -------------------------------------------------------------------------------------------------


class LabelCurve(NamedTuple):
    """Scores over settings whose names differ in a number alone."""

    title: str
    chart: str
    saved: list[str]  # sentences


def label_curves(
    settings: Sequence[Setting],
    styles: Mapping[str, Style],
    lead: str | None,
    labels: Mapping[str, Any] | None = None,
) -> list[LabelCurve]:
    """Scores over the number in the names of settings, such as ``target_12.5`` or ``mr_4``.

    Args:
        settings: all of a study.
        styles: of :func:`method_styles`.
        lead: method of interest.
        labels: of each setting's definition, by its name: where they are the same, the number counts something else,
            such as millimetres, and no label is saved.

    Returns:
        A chart for each stem with at least two settings, and each of its parts (modalities) if these are few.

    Examples:
        >>> label_curves([], {}, None)
        []
    """
    stems: dict[str, list[tuple[float, Setting]]] = {}
    for setting in settings:
        if (match := NUMBER.match(setting.name)) and setting.main:
            stems.setdefault(match["stem"], []).append((float(match["number"]), setting))
    curves = []
    for stem, found in stems.items():
        found.sort(key=lambda one: one[0])
        if len(found) < 2:
            continue
        common = [part for part in found[0][1].parts if all(part in setting.parts for _, setting in found)]
        parts = common if len(common) > 1 and not found[0][1].many else [None]
        known = [labels.get(setting.name) for _, setting in found] if labels else []
        equal = bool(known) and all(one == known[0] for one in known)
        for part in parts:
            curve = _label_curve(stem, part, found, styles, lead)
            # labels of MR say nothing of what CT, which has all of its own, would save
            other = stem in parts and part != stem
            curves.append(curve._replace(saved=[]) if other or equal else curve)
    return curves


def _label_curve(
    stem: str,
    part: str | None,
    found: Sequence[tuple[float, Setting]],
    styles: Mapping[str, Style],
    lead: str | None,
) -> LabelCurve:
    measure = found[0][1].main or ""
    means: dict[str, dict[int, tuple[float, Interval | None]]] = {}
    for at, (_, setting) in enumerate(found):
        for method, values in setting.sample(measure, part).values.items():
            if not np.isfinite(values).any():
                continue
            one = summarise(values)
            means.setdefault(method, {})[at] = one.mean, one.interval
    lines = []
    for rank, (method, known) in enumerate(means.items()):
        shift = (rank - (len(means) - 1) / 2) * 0.03  # so that intervals do not hide each other
        points = [(at + shift, mean) for at, (mean, _) in known.items()]
        intervals = [interval for _, interval in known.values()]
        lines.append(Line(method, points, *styles[method], method == lead, intervals))
    ticks = {float(at): f"{number:g}" for at, (number, _) in enumerate(found)}
    about = MEASURES[measure]
    chart = line_plot(lines, across=f"number in “{stem}”", down=about.title, ticks=ticks, most=about.most)
    title = f"{about.title} on {part}, by the number in “{stem}”" if part else stem
    return LabelCurve(title, chart, _saved(found, means, lead) if lead in means else [])


def _saved(
    found: Sequence[tuple[float, Setting]],
    means: Mapping[str, Mapping[int, tuple[float, Interval | None]]],
    lead: str | None,
) -> list[str]:
    """With how many labels the method of interest reaches what others have with the most."""
    own, last = means[lead or ""], len(found) - 1
    needs = {
        method for method, known in means.items() if len(known) == 1 or len({mean for mean, _ in known.values()}) > 1
    }
    out = []
    for method, known in means.items():
        if method == lead or last not in known or lead not in needs:
            continue  # what uses none of the labels saves none
        wanted = known[last][0]
        least = next((at for at, (mean, _) in own.items() if mean >= wanted), None)
        if least is not None and found[least][0] < found[last][0]:
            number = f"{found[last][0]:g}" if method in needs else "any number"
            out.append(
                f"{lead} reaches with {found[least][0]:g} what {method} has with {number} "
                f"({own[least][0]:.3f} against {wanted:.3f})."
            )
    return out
