# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Charts of the report as inline SVG: they follow the page's light or dark colours and print sharply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from textwrap import wrap

import numpy as np

from monai_mmseg.evaluation.score import mean_sd

WIDTH, ROW, LEFT, RIGHT, TOP = 720, 46, 180, 20, 8
RADIUS = 4.5


def strip_chart(scores: Mapping[str, Mapping[str, float]], *, highlight: str | None = None, unit: str = "Dice") -> str:
    """One dot a subject, one row a method, with the mean as a line and the middle half as a box.

    Use it instead of bars: a failure in one subject is seen, not averaged away.

    Args:
        scores: method to (subject to score in [0, 1]).
        highlight: method drawn in the accent colour.
        unit: name of the axis.

    Returns:
        An ``<svg>`` element.

    Raises:
        ValueError: no method or no score.
    """
    values = [value for found in scores.values() for value in found.values()]
    if not values:
        raise ValueError("scores must hold at least one score, got none.")
    low = max(0.0, math.floor(min(values) * 10 - 1e-9) / 10)
    low = min(low, 0.9)
    height = TOP + ROW * len(scores) + 38

    def x(value: float) -> float:
        return LEFT + (value - low) / (1 - low) * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(unit)} of every subject">'
    ]
    base = TOP + ROW * len(scores)
    ticks = round((1 - low) * 10)
    for tick in range(0, ticks + 1, 2 if ticks > 6 else 1):
        value = 1 - (ticks - tick) / 10 if tick else low
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{base + 15}" text-anchor="middle">{value:.1f}</text>')
    center = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="tick" x="{center}" y="{base + 32}" text-anchor="middle">{escape(unit)}</text>')
    for row, (method, found) in enumerate(scores.items()):
        middle = TOP + ROW * (row + 0.5)
        mark = " lead" if method == highlight else ""
        parts += row_name(method, middle, mark)
        if not found:
            continue
        ordered = sorted(found.values())
        if len(ordered) >= 4:
            first, third = (float(value) for value in np.quantile(ordered, [0.25, 0.75]))
            width = max(x(third) - x(first), 1)
            parts.append(
                f'<rect class="box" x="{x(first):.1f}" y="{middle - 15}" width="{width:.1f}" height="30" rx="3"/>'
            )
        mean = mean_sd(ordered).mean
        parts.append(
            f'<line class="mean{mark}" x1="{x(mean):.1f}" x2="{x(mean):.1f}" y1="{middle - 17}" y2="{middle + 17}"/>'
        )
        for (subject, value), offset in zip(
            sorted(found.items(), key=lambda item: item[1]), swarm([x(value) for value in ordered]), strict=True
        ):
            parts.append(
                f'<circle class="dot{mark}" cx="{x(value):.1f}" cy="{middle + offset:.1f}" r="{RADIUS}">'
                f"<title>{escape(method)}, {escape(subject)}: {value:.3f}</title></circle>"
            )
    return "".join([*parts, "</svg>"])


def row_name(method: str, middle: float, mark: str) -> list[str]:
    """Name of a row, in up to three lines.

    Args:
        method: the name.
        middle: of the row, in pixels.
        mark: further class of the text, with a space in front.

    Returns:
        ``<text>`` elements.
    """
    lines = wrap(method, 23, max_lines=3, placeholder=" …")
    places = [middle + 4 + 14 * (at - (len(lines) - 1) / 2) for at in range(len(lines))]
    return [
        f'<text class="name{mark}" x="{LEFT - 12}" y="{down:.1f}" text-anchor="end">'
        f"<title>{escape(method)}</title>{escape(text)}</text>"
        for text, down in zip(lines, places, strict=True)
    ]


def swarm(positions: Sequence[float]) -> list[float]:
    """Vertical offsets that keep dots of one row from hiding each other.

    Args:
        positions: horizontal positions in pixels, ascending.

    Returns:
        Offsets in pixels, at most 12 to each side.

    Examples:
        >>> swarm([0.0, 1.0, 50.0])
        [0.0, 6.0, 0.0]
    """
    placed: list[tuple[float, float]] = []
    for position in positions:
        free = 0.0
        for offset in (0.0, 6.0, -6.0, 12.0, -12.0):
            if all(math.hypot(position - at, offset - height) >= 2 * RADIUS - 3 for at, height in placed):
                free = offset
                break
        placed.append((position, free))
    return [offset for _, offset in placed]


def short(value: float) -> str:
    """Number in at most seven letters, three digits where they fit.

    Examples:
        >>> short(0.0669), short(0.000548), short(123456.0)
        ('0.0669', '5.5e-4', '1.2e+5')
    """
    text = f"{value:.3g}"
    if len(text) > 6:
        digits, _, exponent = f"{value:.1e}".partition("e")
        text = f"{digits}e{exponent[0]}{int(exponent[1:])}"
    return text
