# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves over epochs as inline SVG, and which curves of a run belong into one chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from monai_mmseg.report.charts import short

DICE = "validation/dice/"  # then the modality, or modality/class
PAIR_WEIGHT = "/pair_weight_"
Values = Sequence[float | None]


class Curve(NamedTuple):
    """One line of a chart."""

    name: str
    values: Values  # one an epoch; None where there is none; what is not finite is a gap
    color: str = ""  # #RRGGBB; empty: the page's accent colour
    strong: bool = False  # in the page's text colour, thicker: a mean among its parts


def line_chart(epochs: Sequence[float], values: Values, *, name: str) -> str:
    """Small chart of one loss term.

    Args:
        epochs: ascending.
        values: one an epoch; ``None`` where there is none; what is not finite is a gap.
        name: what a screen reader says.

    Returns:
        An ``<svg>`` element; one that says so when there is no finite value.
    """
    return curve_chart(epochs, [Curve(name, values)], name=name, size=(240, 120))


def curve_chart(
    epochs: Sequence[float],
    curves: Sequence[Curve],
    *,
    name: str,
    size: tuple[int, int] = (400, 200),
    limits: tuple[float, float] | None = None,
    mark: tuple[float, float] | None = None,
) -> str:
    """Chart of some curves with common axes.

    Args:
        epochs: ascending.
        curves: one or more.
        name: what a screen reader says.
        size: width and height in pixels.
        limits: of the vertical axis; ``None``: of the values.
        mark: epoch and value of a point that gets a dot.

    Returns:
        An ``<svg>`` element; one that says so when there is no finite value.

    Examples:
        >>> curve_chart([1, 2], [Curve("LV", [0.5, 0.75], "#E69F00")], name="Dice").count("<polyline")
        2
    """
    width, height = size
    head = (
        f'<svg class="chart curve" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(name)} over epochs">'
    )
    known = [value for curve in curves for value in curve.values if value is not None and math.isfinite(value)]
    if not known:
        middle = f'x="{width / 2}" y="{height / 2}" text-anchor="middle"'
        return f'{head}<text class="tick" {middle}>no finite value</text></svg>'
    low, high = limits or (min(known), max(known))
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5 * max(abs(low), 1e-3), high + 0.5 * max(abs(high), 1e-3)
    first, last, left, bottom, top = epochs[0], epochs[-1], 44, 20, 8

    def x(epoch: float) -> float:
        return left + (epoch - first) / ((last - first) or 1) * (width - left - 8)

    def y(value: float) -> float:
        return top + (high - value) / (high - low) * (height - top - bottom)

    parts = [head]
    for value in (high, (low + high) / 2, low):
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{left - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{short(value)}</text>'
        )
    for epoch, anchor in ((first, "start"), (last, "end"))[: 1 + (last > first)]:
        parts.append(f'<text class="tick" x="{x(epoch):.1f}" y="{height - 5}" text-anchor="{anchor}">{epoch:g}</text>')
    for curve in curves:
        for stroke in _strokes(epochs, curve.values):
            parts += _stroke(curve, [(x(epoch), y(value)) for epoch, value in stroke])
    if mark is not None:
        parts.append(f'<circle class="dot lead" cx="{x(mark[0]):.1f}" cy="{y(mark[1]):.1f}" r="4.5"/>')
    return "".join([*parts, "</svg>"])


def _strokes(epochs: Sequence[float], values: Values) -> list[list[tuple[float, float]]]:
    """Runs of finite values: a missing one is bridged, one that is not finite is a gap."""
    strokes: list[list[tuple[float, float]]] = [[]]
    for epoch, found in zip(epochs, values, strict=True):
        if found is not None and math.isfinite(found):
            strokes[-1].append((epoch, found))
        elif found is not None and strokes[-1]:
            strokes.append([])
    return [stroke for stroke in strokes if stroke]


def _stroke(curve: Curve, points: Sequence[tuple[float, float]]) -> list[str]:
    title = f"<title>{escape(curve.name)}</title>"
    if len(points) == 1:
        (across, down), fill = points[0], f' style="fill: {curve.color}"' if curve.color else ""
        kind = "dot" if curve.strong or curve.color else "dot lead"
        return [f'<circle class="{kind}" cx="{across:.1f}" cy="{down:.1f}" r="2.5"{fill}>{title}</circle>']
    where = f'points="{" ".join(f"{across:.1f},{down:.1f}" for across, down in points)}"'
    if curve.strong:
        return [f'<polyline class="line strong" {where}>{title}</polyline>']
    if not curve.color:
        return [f'<polyline class="line" {where}>{title}</polyline>']
    # light colours need an edge on a light page
    under = f'<polyline class="line under" {where}/>'
    return [under, f'<polyline class="line" style="stroke: {curve.color}" {where}>{title}</polyline>']


def dice_curves(terms: Mapping[str, Values]) -> dict[str, dict[str, Values]]:
    """Dice of validation subjects over training: modality to class to values; the class ``""`` is their mean.

    Args:
        terms: all curves of a run.

    Returns:
        Empty where the run has no such curves.

    Examples:
        >>> dice_curves({"validation/dice/ct": [0.5], "validation/dice/ct/LV": [0.5], "validation/kl": [1.0]})
        {'ct': {'': [0.5], 'LV': [0.5]}}
    """
    found: dict[str, dict[str, Values]] = {}
    for name, values in terms.items():
        if name.startswith(DICE):
            modality, _, part = name.removeprefix(DICE).partition("/")
            found.setdefault(modality, {})[part] = values
    return found


def dice_charts(epochs: Sequence[float], terms: Mapping[str, Values], colors: Mapping[str, str]) -> dict[str, str]:
    """A chart a modality of the Dice of every class over training, all with one axis.

    Args:
        epochs: of the curves.
        terms: all curves of a run.
        colors: class to ``#RRGGBB``; others get the accent colour.

    Returns:
        Modality to ``<svg>``.
    """
    found = dice_curves(terms)
    known = [v for parts in found.values() for values in parts.values() for v in values if v is not None]
    low = 0.5 if known and min(known) >= 0.5 else 0.0
    return {
        modality: curve_chart(
            epochs,
            [
                Curve(part or "mean of the classes", values, colors.get(part, ""), not part)
                for part, values in sorted(parts.items(), key=lambda item: not item[0])
            ],
            name=f"Dice of every class on {modality}",
            limits=(low, 1.0),
        )
        for modality, parts in found.items()
    }


def pair_weight_chart(epochs: Sequence[float], terms: Mapping[str, Values]) -> str:
    """One chart of the weights of candidate slices over training, as DAFNet's Fig. 6.

    Args:
        epochs: of the curves.
        terms: all curves of a run.

    Returns:
        An ``<svg>``, the closest slice in the strong line; empty where the run has no such weights.

    Examples:
        >>> pair_weight_chart([1, 2], {f"generator/pair_weight_{n}": [0.5, 0.5] for n in (1, 2)}).count("<polyline")
        2
    """
    found = {name.rpartition("_")[2]: values for name, values in terms.items() if PAIR_WEIGHT in name}
    curves = [Curve(f"candidate {name}", values, strong=name == "1") for name, values in sorted(found.items())]
    return curve_chart(epochs, curves, name="Weights of the candidate slices", limits=(0.0, 1.0)) if curves else ""


def training_against_validation(epochs: Sequence[float], terms: Mapping[str, Values]) -> list[tuple[str, str]]:
    """Two charts to stand side by side: the training's total loss, and the validation metric with its best epoch.

    Args:
        epochs: of the curves.
        terms: all curves of a run.

    Returns:
        Title and ``<svg>`` of both; empty where one of them is not there.
    """
    losses = [name for name in terms if name.endswith("/total") and not name.startswith("validation/")]
    metrics = [name for name in terms if name.startswith("validation/val_")]
    for wanted in ("validation/val_mean_dice", *metrics):
        points = [
            (epoch, value)
            for epoch, value in zip(epochs, terms.get(wanted, ()), strict=wanted in terms)
            if value is not None and math.isfinite(value)
        ]
        if points and losses:
            break
    else:
        return []
    best = max(points, key=lambda point: point[1])
    name = wanted.removeprefix("validation/val_").replace("_", " ").replace("dice", "Dice")
    title = f"Validation: {name}, best {short(best[1])} in epoch {best[0]:g}"
    return [
        (f"Training: {losses[0]}", curve_chart(epochs, [Curve(losses[0], terms[losses[0]])], name=losses[0])),
        (title, curve_chart(epochs, [Curve(name, terms[wanted])], name=wanted, mark=best)),
    ]
