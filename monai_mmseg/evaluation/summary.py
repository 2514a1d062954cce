# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Means over subjects of the rows of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from monai_mmseg.evaluation.rows import MEASURES, ScoreRow

#: Name of the summary line that averages the classes of each subject before it averages the subjects.
FOREGROUND = "foreground mean"


class MeanSd(NamedTuple):
    """Mean and sample standard deviation (n - 1); the deviation of a single subject is NaN."""

    mean: float
    sd: float

    def text(self, digits: int) -> str:
        """The value as shown in tables, ``mean ± sd``, or the mean alone for a single subject.

        Args:
            digits: decimals of both numbers.

        Returns:
            The text.

        Examples:
            >>> MeanSd(0.74, 0.041).text(2), MeanSd(0.74, float("nan")).text(2)
            ('0.74 ± 0.04', '0.74')
        """
        return f"{self.mean:.{digits}f}" if math.isnan(self.sd) else f"{self.mean:.{digits}f} ± {self.sd:.{digits}f}"


@dataclass(frozen=True)
class SummaryRow:
    """Scores of one class (or of the foreground mean) over the subjects of one method and modality.

    Args:
        method: who made the predictions.
        modality: which images were segmented.
        label: integer value of the class, ``None`` for the foreground mean.
        name: the class in words, or :data:`FOREGROUND`.
        subjects: number of subjects behind the means.
        dice: mean ± sd over subjects; the same for the three distances in mm.
        hausdorff: see ``dice``.
        hausdorff95: see ``dice``.
        surface_distance: see ``dice``.
        present: how many labels (subject x class) hold the class: the denominator of the miss rate.
        missed: how many of those were missed altogether.
        empty: how many are in neither label nor prediction (they count as Dice 1).
        spurious: how many are in the prediction only (they count as Dice 0).
    """

    method: str
    modality: str
    label: int | None
    name: str
    subjects: int
    dice: MeanSd
    hausdorff: MeanSd
    hausdorff95: MeanSd
    surface_distance: MeanSd
    present: int
    missed: int
    empty: int
    spurious: int

    @property
    def miss_rate(self) -> float:
        """Share of the organs that are there and were missed; 0 when no organ is there."""
        return self.missed / self.present if self.present else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping for JSON; an undefined deviation becomes ``None``."""
        out: dict[str, Any] = {key: getattr(self, key) for key in ("method", "modality", "label", "name", "subjects")}
        for measure in MEASURES:
            value: MeanSd = getattr(self, measure)
            out[measure] = {"mean": value.mean, "sd": None if math.isnan(value.sd) else value.sd}
        counts = {key: getattr(self, key) for key in ("present", "missed", "empty", "spurious")}
        return {**out, **counts, "miss_rate": self.miss_rate}


def mean_sd(values: Sequence[float]) -> MeanSd:
    """Mean and sample standard deviation of a few numbers.

    Use it wherever a ``mean ± sd`` is printed, so that all tables mean the same by it.

    Args:
        values: at least one number.

    Returns:
        The mean and the deviation with n - 1; NaN as deviation of a single number.

    Raises:
        ValueError: no value at all.

    Examples:
        >>> mean_sd([1.0, 3.0])
        MeanSd(mean=2.0, sd=1.4142135623730951)
    """
    if not values:
        raise ValueError("values must hold at least one number, got none.")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return MeanSd(mean, math.nan)
    return MeanSd(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)))


def subject_means(rows: Sequence[ScoreRow], measure: str = "dice") -> dict[str, float]:
    """Mean over the classes of each subject.

    Use it for paired tests and strip plots: one number a subject.

    Args:
        rows: rows of one method and one modality.
        measure: one of ``dice``, ``hausdorff``, ``hausdorff95``, ``surface_distance``.

    Returns:
        Subject to mean, in order of appearance.

    Raises:
        ValueError: the measure is unknown.

    Examples:
        >>> a = ScoreRow("copy", "lge", "s01", 1, "myocardium", 0.5, 8.0, 6.0, 2.0)
        >>> b = ScoreRow("copy", "lge", "s01", 2, "blood pool", 0.75, 8.0, 6.0, 2.0)
        >>> subject_means([a, b])
        {'s01': 0.625}
    """
    if measure not in MEASURES:
        raise ValueError(f"measure must be one of {list(MEASURES)}, got {measure!r}.")
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.subject, []).append(getattr(row, measure))
    return {subject: math.fsum(found) / len(found) for subject, found in values.items()}


def summarise(rows: Sequence[ScoreRow]) -> list[SummaryRow]:
    """Mean ± sd over subjects for each method, modality and class, and for the foreground mean.

    Use it through :meth:`EvaluationTable.summary`. The foreground mean first averages the classes of a subject, so its
    deviation is one between subjects and not between organs.

    Args:
        rows: any rows.

    Returns:
        For each method and modality in order of appearance: one line a class, then the foreground mean.
    """
    groups: dict[tuple[str, str], list[ScoreRow]] = {}
    for row in rows:
        groups.setdefault((row.method, row.modality), []).append(row)
    out: list[SummaryRow] = []
    for group in groups.values():
        classes: dict[int, list[ScoreRow]] = {}
        for row in group:
            classes.setdefault(row.label, []).append(row)
        out += [_line(found, label, found[0].name) for label, found in sorted(classes.items())]
        out.append(_line(group, None, FOREGROUND))
    return out


def _line(rows: Sequence[ScoreRow], label: int | None, name: str) -> SummaryRow:
    means = {measure: mean_sd(list(subject_means(rows, measure).values())) for measure in MEASURES}
    missed, empty, spurious = (sum(getattr(row, key) for row in rows) for key in ("missed", "empty", "spurious"))
    return SummaryRow(
        rows[0].method,
        rows[0].modality,
        label,
        name,
        len({row.subject for row in rows}),
        **means,
        present=len(rows) - empty - spurious,
        missed=missed,
        empty=empty,
        spurious=spurious,
    )
