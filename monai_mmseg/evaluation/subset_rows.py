# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a table of missing modalities is made of: rows, lines, tests, and how a measure is printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from monai_mmseg.evaluation.reconstruction import IMAGE_MEASURES
from monai_mmseg.evaluation.rows import MEASURES, ScoreRow
from monai_mmseg.evaluation.summary import MeanSd

__all__ = ["Measure", "SubsetLine", "SubsetRow", "SubsetTest", "measure_of", "measures_of"]


class Measure(NamedTuple):
    """How a measure is printed."""

    heading: str
    unit: str
    higher: bool  # whether a higher value is better
    digits: int


class SubsetRow(NamedTuple):
    """Scores of one subject, predicted from one subset of the modalities."""

    method: str
    subset: tuple[str, ...]
    subject: str
    measures: dict[str, float]  # name, maybe "<name>/<class>", to value


class SubsetLine(NamedTuple):
    """Means over the subjects that have all modalities of a subset."""

    method: str
    subset: tuple[str, ...]
    subjects: int
    left_out: int  # subjects that lack a modality of it
    measures: dict[str, MeanSd]


class SubsetTest(NamedTuple):
    """A subset against all modalities, on the subjects that have them all."""

    method: str
    subset: tuple[str, ...]
    subjects: int
    difference: float  # subset minus all
    p: float
    p_holm: float  # corrected for the number of subsets of the method


def measure_of(name: str) -> Measure:
    """How a measure is printed, by its name: ``"dice"``, ``"dice/oedema"``, ``"psnr"``, ...

    Args:
        name: of a measure; what stands behind a slash is a class.

    Returns:
        Heading, unit, whether more is better, decimals.

    Raises:
        ValueError: the name is unknown.

    Examples:
        >>> measure_of("hausdorff95/core")
        Measure(heading='HD95 core', unit='mm', higher=False, digits=1)
    """
    base, _, part = name.partition("/")
    if base in MEASURES:
        heading, unit, higher, digits = MEASURES[base]
    elif base in IMAGE_MEASURES:
        (heading, unit, digits), higher = IMAGE_MEASURES[base], True
    else:
        raise ValueError(f"measure must be one of {[*MEASURES, *IMAGE_MEASURES]}, got {name!r}.")
    return Measure(f"{heading} {part}".strip(), unit, higher, digits)


def measures_of(rows: Sequence[ScoreRow]) -> dict[str, float]:
    """Measures of one subject from its rows of the evaluator: means over the classes, then Dice of each class.

    Args:
        rows: one a class.

    Returns:
        ``dice``, ``hausdorff95`` and ``dice/<class>``.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("rows must hold at least one class, got none.")
    means = {m: math.fsum(getattr(row, m) for row in rows) / len(rows) for m in ("dice", "hausdorff95")}
    return {**means, **({f"dice/{row.name}": row.dice for row in rows} if len(rows) > 1 else {})}
