# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Charts of a comparison as inline SVG: boxes with subjects and trainings told apart, critical differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape

import numpy as np

from monai_mmseg.evaluation.score import MEASURES
from monai_mmseg.report.charts import LEFT, RADIUS, RIGHT, ROW, TOP, WIDTH, row_name, swarm
from monai_mmseg.study.sample import Sample
from monai_mmseg.study.statistics import Ranking, summarise

DIAMOND = 5.5


def box_chart(sample: Sample, *, highlight: str | None = None, name: str = "") -> str:
    """A row a method: a dot a subject (its mean over trainings), a diamond a training (its mean over subjects).

    The box is the middle half of the subjects, the line their mean. Diamonds far apart say that the seed decides, dots
    far apart that the patient does.

    Args:
        sample: scores of one measure.
        highlight: method drawn in the accent colour.
        name: of the axis; empty: that of the measure.

    Returns:
        An ``<svg>`` element.

    Raises:
        ValueError: no method.

    Examples:
        >>> sample = Sample("dice", ["s1", "s2"], {"unet": np.array([[0.8, 0.6], [0.9, 0.7]])}, {"unet": ["0", "1"]})
        >>> svg = box_chart(sample)
        >>> svg.count("<circle"), svg.count('<path class="training')
        (2, 2)
    """
    if not sample.values:
        raise ValueError("sample must hold at least one method, got none.")
    about = MEASURES[sample.measure]
    every = np.concatenate([values[np.isfinite(values)] for values in sample.values.values()])
    ticks = nice_ticks(float(every.min()), 1.0 if about.most == 1.0 else float(every.max()))
    low, high, base = ticks[0], ticks[-1], TOP + ROW * len(sample.values)
    title = name or about.title

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {base + 38}" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{base + 15}" text-anchor="middle">{tick:g}</text>')
    center = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="tick" x="{center}" y="{base + 32}" text-anchor="middle">{escape(title)}</text>')
    for row, method in enumerate(sample.values):
        mark = " lead" if method == highlight else ""
        middle = TOP + ROW * (row + 0.5)
        parts += [*row_name(method, middle, mark), *_row(sample, method, middle, mark, x)]
    return "".join([*parts, "</svg>"])


def _row(sample: Sample, method: str, middle: float, mark: str, x: Callable[[float], float]) -> list[str]:
    values, digits = sample.values[method], MEASURES[sample.measure].digits
    ordered = sorted(sample.means(method).items(), key=lambda item: item[1])
    parts = []
    if len(ordered) >= 4:
        first, third = (x(float(q)) for q in np.quantile([value for _, value in ordered], [0.25, 0.75]))
        parts.append(
            f'<rect class="box" x="{first:.1f}" y="{middle - 15}" width="{max(third - first, 1):.1f}" height="30" '
            'rx="3"/>'
        )
    mean = x(summarise(values, confidence=None).mean)
    parts.append(f'<line class="mean{mark}" x1="{mean:.1f}" x2="{mean:.1f}" y1="{middle - 17}" y2="{middle + 17}"/>')
    for (subject, value), offset in zip(ordered, swarm([x(value) for _, value in ordered]), strict=True):
        parts.append(
            f'<circle class="dot{mark}" cx="{x(value):.1f}" cy="{middle + offset:.1f}" r="{RADIUS}">'
            f"<title>{escape(method)}, {escape(subject)}: {value:.{digits}f}</title></circle>"
        )
    if len(values) > 1:  # the only training is the mean
        for training, found in zip(sample.trainings[method], values, strict=True):
            value, at = float(np.nanmean(found)), middle + 19
            shape = f"M{x(value):.1f},{at - DIAMOND}l{DIAMOND},{DIAMOND}l-{DIAMOND},{DIAMOND}l-{DIAMOND},-{DIAMOND}z"
            parts.append(
                f'<path class="training{mark}" d="{shape}"><title>{escape(method)}, {escape(training)}: '
                f"{value:.{digits}f}</title></path>"
            )
    return parts


def critical_difference_chart(ranking: Ranking, *, highlight: str | None = None) -> str:
    """Mean ranks on a line, the best at the left; bars join methods that the critical difference does not part.

    Args:
        ranking: from :func:`~monai_mmseg.study.statistics.rank`.
        highlight: method drawn in the accent colour.

    Returns:
        An ``<svg>`` element.

    Reference:
        Demsar, JMLR 2006, figure 1.

    Examples:
        >>> ranking = Ranking({"a": 1.2, "b": 1.8}, 0.1, 5, 0.9, [["a", "b"]])
        >>> critical_difference_chart(ranking).count('<line class="group"')  # the difference, and what it joins
        2
    """
    names, count = list(ranking.ranks), len(ranking.ranks)
    side, axis = 180, 58

    def x(place: float) -> float:
        return side + (place - 1) / (count - 1) * (WIDTH - 2 * side)

    left = names[: (count + 1) // 2]
    first = axis + 12 + 9 * len(ranking.groups) + 14
    lines = {name: first + 22 * at for at, name in enumerate(left)}
    lines |= {name: first + 22 * at for at, name in enumerate(reversed(names[len(left) :]))}
    height = max(lines.values()) + 14
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Mean ranks">']
    parts.append(f'<line class="axis" x1="{x(1)}" x2="{x(count)}" y1="{axis}" y2="{axis}"/>')
    for place in range(1, count + 1):
        parts.append(f'<line class="axis" x1="{x(place):.1f}" x2="{x(place):.1f}" y1="{axis - 6}" y2="{axis}"/>')
        parts.append(f'<text class="tick" x="{x(place):.1f}" y="{axis - 11}" text-anchor="middle">{place}</text>')
    if ranking.critical_difference < count - 1:
        stop, text = x(1 + ranking.critical_difference), f"critical difference {ranking.critical_difference:.2f}"
        parts.append(f'<line class="group" x1="{x(1)}" x2="{stop:.1f}" y1="18" y2="18"/>')
        parts.append(f'<text class="tick" x="{stop + 10:.1f}" y="22">{text}</text>')
    else:
        text = f"critical difference {ranking.critical_difference:.2f}: more than these methods can be apart"
        parts.append(f'<text class="tick" x="{x(1)}" y="22">{text}</text>')
    for name, level in lines.items():
        rank, mark = ranking.ranks[name], " lead" if name == highlight else ""
        end, where = (side - 8, 'text-anchor="end" dx="-6"') if name in left else (WIDTH - side + 8, 'dx="6"')
        parts.append(
            f'<polyline class="leader{mark}" points="{x(rank):.1f},{axis} {x(rank):.1f},{level} {end},{level}"/>'
            f'<text class="name{mark}" x="{end}" y="{level + 4}" {where}>'
            f"<title>{escape(name)}: {rank:.2f}</title>{escape(_short(name))}</text>"
        )
    for row, group in enumerate(ranking.groups):
        start, stop = x(ranking.ranks[group[0]]) - 4, x(ranking.ranks[group[-1]]) + 4
        down = axis + 12 + 9 * row
        parts.append(f'<line class="group" x1="{start:.1f}" x2="{stop:.1f}" y1="{down}" y2="{down}"/>')
    return "".join([*parts, "</svg>"])


def _short(name: str) -> str:
    return name if len(name) <= 23 else f"{name[:22]}…"


def nice_ticks(low: float, high: float, *, most: int = 7) -> list[float]:
    """Round numbers at even distances that enclose a range.

    Args:
        low: least value.
        high: largest value.
        most: how many steps.

    Returns:
        At least two ascending numbers.

    Examples:
        >>> nice_ticks(0.43, 1.0), nice_ticks(3.0, 3.0)
        ([0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], [3.0, 3.2])
    """
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * digit for digit in (1, 2, 5, 10) if span / (power * digit) <= most)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(step * at, 12) for at in range(first, last + 1)]
