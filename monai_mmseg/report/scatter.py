# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Predicted against true volumes as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

SIDE, LEFT, TOP, RIGHT, BOTTOM = 340, 52, 12, 12, 42
WIDE = 20.0  # largest against smallest class from which on the axes are of square roots


def volume_chart(
    points: Mapping[str, Sequence[tuple[str, float, float]]], colors: Mapping[str, str], *, name: str
) -> str:
    """A dot a subject and class over the line on which both volumes are equal.

    Use it beside Dice: a network that draws every organ too large is seen here, and not there. Where the classes differ
    much in size the axes are of square roots, so that small ones are seen too.

    Args:
        points: class to subject, true and predicted volume in ml.
        colors: class to ``#RRGGBB``.
        name: what a screen reader says.

    Returns:
        An ``<svg>`` element.

    Raises:
        ValueError: no point.

    Examples:
        >>> volume_chart({"LV": [("s1", 100.0, 90.0)]}, {}, name="Volumes").count("<circle")
        1
    """
    every = [point for found in points.values() for point in found]
    if not every:
        raise ValueError("points must hold at least one subject, got none.")
    most = max(max(truth, predicted) for _, truth, predicted in every) * 1.05 or 1.0
    sizes = [max(p[1] for p in found) for found in points.values() if found and max(p[1] for p in found) > 0]
    root = bool(sizes) and max(sizes) > WIDE * min(sizes)

    def at(value: float) -> float:
        return (math.sqrt(value / most) if root else value / most) * (SIDE - LEFT - RIGHT)

    def x(value: float) -> float:
        return LEFT + at(value)

    def y(value: float) -> float:
        return TOP + SIDE - LEFT - RIGHT - at(value)

    height = TOP + SIDE - LEFT - RIGHT + BOTTOM
    parts = [f'<svg class="chart square" viewBox="0 0 {SIDE} {height}" role="img" aria-label="{escape(name)}">']
    for tick in _ticks(most, at):
        parts += [
            f'<line class="grid" x1="{x(0):.1f}" x2="{x(most):.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>',
            f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{y(0):.1f}" y2="{y(most):.1f}"/>',
            f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>',
            f'<text class="tick" x="{x(tick):.1f}" y="{y(0) + 15:.1f}" text-anchor="middle">{tick:g}</text>',
        ]
    parts.append(f'<line class="identity" x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(most):.1f}" y2="{y(most):.1f}"/>')
    scale = ", axes of square roots" if root else ""
    parts.append(
        f'<text class="tick" x="{x(0) + at(most) / 2:.1f}" y="{y(0) + 33:.1f}" text-anchor="middle">'
        f"true volume [ml]{scale}</text>"
    )
    middle = y(most) + at(most) / 2
    parts.append(
        f'<text class="tick" transform="translate(11 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        "predicted volume [ml]</text>"
    )
    for part, found in points.items():
        fill = f' style="fill: {colors[part]}"' if part in colors else ""
        for subject, truth, predicted in found:
            parts.append(
                f'<circle class="dot edged" cx="{x(truth):.1f}" cy="{y(predicted):.1f}" r="4.5"{fill}><title>'
                f"{escape(part)}, {escape(subject)}: {predicted:.1f} ml, truly {truth:.1f} ml</title></circle>"
            )
    return "".join([*parts, "</svg>"])


def _ticks(most: float, at: Callable[[float], float]) -> list[float]:
    """Round numbers that leave room for their texts: at most five steps of one size, or 1, 2, 5, 10, ... below them."""
    power = 10.0 ** math.floor(math.log10(most))
    step = next(power * digit for digit in (0.2, 0.5, 1, 2, 5) if most / (power * digit) <= 5)
    ticks = [step * count for count in range(int(most / step) + 1)]
    if abs(at(most / 4) - at(most) / 4) > 1:  # not even: the room is below the first step
        for finer in (step * share for share in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)):
            if min(abs(at(finer) - at(tick)) for tick in ticks) >= 30:
                ticks.append(finer)
    return sorted(ticks)
