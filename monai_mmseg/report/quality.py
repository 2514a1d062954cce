# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Section of the page about foretold quality: was it right, and what would handing over the worst have bought."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from monai_mmseg.evaluation.quality import (
    COVERAGE,
    LABELS_OF_MEAN,
    QUALITY,
    Agreement,
    Pair,
    compare_quality,
    read_quality,
    true_pairs,
    unforetold_text,
    with_foretold,
)
from monai_mmseg.report.content import RunContent

SIDE, LEFT, TOP, RIGHT, BOTTOM = 340, 52, 12, 12, 42
PLACES = (f"predictions/{QUALITY}", QUALITY)
NAMES = {
    "predicted_dice": "foretold by the line that was fitted on validation subjects",
    "expected_dice": "expected under the mean probabilities, not calibrated",
    "pairwise_dice": "mean over pairs of samples, not calibrated",
}


def quality_values(content: RunContent, method: str | None, colors: Mapping[str, str]) -> dict[str, Any] | None:
    """What the template prints of foretold quality.

    Args:
        content: of a run; a broken part is added to its problems.
        method: whose predictions lie beside the file; ``None``: nothing was scored.
        colors: class to ``#RRGGBB``.

    Returns:
        ``rows`` of texts, two charts as SVG, and names; ``None`` without a file or scores.
    """
    path = next((content.run_dir / place for place in PLACES if (content.run_dir / place).is_file()), None)
    if path is None or method is None:
        return None
    try:
        scored = true_pairs(read_quality(path), content.table, method)
        _check_scored(scored, content.owner.newest.get("model"))
        pairs = with_foretold(scored)
        found = compare_quality(pairs)
    except (OSError, ValueError) as error:
        content.problems.append(f"{path.relative_to(content.run_dir).as_posix()} is left out: {error}")
        return None
    return {
        "signal": NAMES[found.signal],
        "samples": pairs[0].quality.samples,
        "left_out": unforetold_text(pair.quality for pair in scored) if len(pairs) < len(scored) else "",
        "rows": quality_rows(found),
        "scatter": dice_scatter(pairs, found.signal, colors),
        "curve": risk_chart(found),
        "classes": [(name, color) for name, color in colors.items() if name in {pair.quality.name for pair in pairs}],
    }


def _check_scored(pairs: Sequence[Pair], model: str | None) -> None:
    """What was foretold of other labels than were scored says nothing of the scores."""
    if model and {pair.quality.weights for pair in pairs} - {"", model}:
        raise ValueError("it foretells the Dice of other weights' predictions than were scored.")
    if model and any(pair.quality.samples.endswith(LABELS_OF_MEAN) for pair in pairs):
        raise ValueError("it foretells the Dice of labels of the mean of samples, and the network's own were scored.")


def quality_rows(found: Agreement) -> list[tuple[str, str]]:
    """Name and value of each measure, as texts.

    Args:
        found: a comparison.

    Returns:
        Lines of a table.

    Examples:
        >>> from monai_mmseg.evaluation.quality import Quality
        >>> rows = [Quality("s", "", name, d, d, d, 0, "shift") for name, d in (("LV", 0.9), ("RV", 0.7))]
        >>> quality_rows(compare_quality([Pair(row, row.predicted_dice) for row in rows]))[:2]
        [('images and classes', '2'), ('mean absolute error', '0.000')]
    """
    curve = found.curve
    within = [(f"true Dice within the interval ({COVERAGE:.0%} meant)", f"{found.within:.0%}")]
    return [
        ("images and classes", str(found.pairs)),
        ("mean absolute error", f"{found.error:.3f}"),
        ("mean of foretold minus true", f"{found.bias:+.3f}"),
        ("correlation", "–" if math.isnan(found.correlation) else f"{found.correlation:.2f}"),
        ("area under risk-coverage", f"{curve.area:.3f}"),
        ("… of the true order, of a random one", f"{curve.best:.3f}, {curve.random:.3f}"),
        *([] if math.isnan(found.within) else within),
    ]


def dice_scatter(pairs: Sequence[Pair], signal: str, colors: Mapping[str, str]) -> str:
    """A dot an image and class over the line on which foretold and true Dice are equal, and the interval as a band.

    Args:
        pairs: at least one.
        signal: what was foretold, a field of :class:`~monai_mmseg.evaluation.quality.Quality`.
        colors: class to ``#RRGGBB``.

    Returns:
        An ``<svg>`` element.
    """
    values = [(getattr(pair.quality, signal), pair.dice, pair.quality) for pair in pairs]
    low = min(0.9, math.floor(10 * min(min(x, y) for x, y, _ in values)) / 10)
    box = _Box((low, 1.0), (low, 1.0))
    parts = [*box.frame("foretold Dice", "true Dice", "Foretold against true Dice")]
    ends = sorted((x, row.predicted_low, row.predicted_high) for x, _, row in values)
    if signal == "predicted_dice" and all(math.isfinite(value) for end in ends for value in end):
        edge = [(x, down) for x, down, _ in ends] + [(x, up) for x, _, up in reversed(ends)]
        points = " ".join(f"{box.x(x):.1f},{box.y(max(low, y)):.1f}" for x, y in edge)
        parts.append(f'<polygon class="box" points="{points}"/>')
    parts.append(f'<line class="identity" {box.ends((low, low), (1.0, 1.0))}/>')
    for x, y, row in values:
        fill = f' style="fill: {colors[row.name]}"' if row.name in colors else ""
        text = f"{row.name}, {row.subject}: {x:.3f} foretold, {y:.3f} true"
        parts.append(
            f'<circle class="dot edged" cx="{box.x(x):.1f}" cy="{box.y(y):.1f}" r="4.5"{fill}>'
            f"<title>{escape(text)}</title></circle>"
        )
    return "".join([*parts, "</svg>"])


def risk_chart(found: Agreement) -> str:
    """Mean of 1 - Dice of the images and classes that are kept, over their share; dashed: all alike.

    Args:
        found: a comparison.

    Returns:
        An ``<svg>`` element.
    """
    curve = found.curve
    most = max(0.1, math.ceil(10 * max(float(curve.risk.max()), curve.random)) / 10)
    box = _Box((0.0, 1.0), (0.0, most))
    parts = [*box.frame("share kept, most trusted first", "mean of 1 - Dice", "Risk over coverage")]
    parts.append(f'<line class="identity" {box.ends((0.0, curve.random), (1.0, curve.random))}/>')
    points = " ".join(
        f"{box.x(float(x)):.1f},{box.y(float(y)):.1f}" for x, y in zip(curve.coverage, curve.risk, strict=True)
    )
    parts.append(f'<polyline class="line" points="{points}"/>')
    return "".join([*parts, "</svg>"])


class _Box:
    """Axes of a square chart."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.across, self.up = across, up

    def x(self, value: float) -> float:
        return LEFT + (value - self.across[0]) / (self.across[1] - self.across[0]) * (SIDE - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return TOP + (self.up[1] - value) / (self.up[1] - self.up[0]) * (SIDE - LEFT - RIGHT)

    def ends(self, start: tuple[float, float], stop: tuple[float, float]) -> str:
        (a, b), (c, d) = start, stop
        return f'x1="{self.x(a):.1f}" y1="{self.y(b):.1f}" x2="{self.x(c):.1f}" y2="{self.y(d):.1f}"'

    def frame(self, below: str, beside: str, name: str) -> list[str]:
        side = SIDE - LEFT - RIGHT
        left, down = self.x(self.across[0]), self.y(self.up[0])
        view = f'viewBox="0 0 {SIDE} {TOP + side + BOTTOM}"'
        parts = [f'<svg class="chart square" {view} role="img" aria-label="{escape(name)}">']
        for value in _ticks(*self.up):
            parts.append(f'<line class="grid" {self.ends((self.across[0], value), (self.across[1], value))}/>')
            parts.append(_text(f"{value:.3g}", f'x="{left - 6:.1f}" y="{self.y(value) + 4:.1f}"', "end"))
        for value in _ticks(*self.across):
            parts.append(f'<line class="grid" {self.ends((value, self.up[0]), (value, self.up[1]))}/>')
            parts.append(_text(f"{value:.3g}", f'x="{self.x(value):.1f}" y="{down + 15:.1f}"'))
        parts.append(_text(below, f'x="{left + side / 2:.1f}" y="{down + 33:.1f}"'))
        parts.append(_text(beside, f'transform="translate(11 {TOP + side / 2:.1f}) rotate(-90)"'))
        return parts


def _text(text: str, place: str, anchor: str = "middle") -> str:
    return f'<text class="tick" {place} text-anchor="{anchor}">{escape(text)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 5.001)
    return [low + step * count for count in range(int((high - low) / step + 1.001))]
