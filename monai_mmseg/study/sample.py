# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Scores of a study as arrays: method, training and subject, of one measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.evaluation.score import Score
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.study.cells import Cell

ALL = ""  # name of the part that holds all parts


class Sample(NamedTuple):
    """One measure of all methods."""

    measure: str
    subjects: Sequence[str]  # of all methods
    values: Mapping[str, NDArray[np.float64]]  # method to (trainings, subjects), NaN where there is no score
    trainings: Mapping[str, Sequence[str]]  # method to names of its rows

    def means(self, method: str) -> dict[str, float]:
        """Mean over trainings of each subject that has one.

        Args:
            method: whose.

        Returns:
            Subject to mean.
        """
        columns = zip(self.subjects, self.values[method].T, strict=True)
        return {subject: float(np.nanmean(found)) for subject, found in columns if np.isfinite(found).any()}


def part_of(score: Score) -> str:
    """What was scored besides the class: a modality, a subset of them, a pair.

    Args:
        score: any.

    Returns:
        A name.

    Examples:
        >>> part_of(Score("m", "s", {"modality": "lge", "class": "LV"}, {"dice": 1.0}))
        'lge'
    """
    return ", ".join(value for key, value in score.case.items() if key != "class")


def in_part(part: str) -> Callable[[Score], bool]:
    """Whether a score is of a part.

    Args:
        part: see :func:`part_of`; :data:`ALL`: any.

    Returns:
        A test of scores.
    """
    return lambda score: part in (ALL, part_of(score))


def take_sample(
    tables: Iterable[tuple[Cell, ScoreTable]],
    measure: str,
    part: str = ALL,
    *,
    where: Callable[[Score], bool] | None = None,
) -> Sample:
    """Arrays of one measure, each number the mean over all that was scored in a subject (of a person: all visits).

    A training is a seed. Where several folds score the same subjects (a test section), each fold of each seed is a
    training of its own; where they score different ones (cross-validation), they are one training together.

    Args:
        tables: cells of one setting with their scores.
        measure: one of :data:`~monai_mmseg.evaluation.score.MEASURES`.
        part: see :func:`part_of`; :data:`ALL`: all parts.
        where: which scores; ``None``: all.

    Returns:
        Methods without such a score are not in it.
    """
    found: dict[str, dict[tuple[int, int], dict[str, float]]] = {}
    belongs = in_part(part)

    def wanted(score: Score) -> bool:
        return belongs(score) and (where is None or where(score))

    for cell, table in tables:
        scores = {s: v for s, v in table.per_person(measure, wanted).items() if np.isfinite(v)}
        if scores:
            found.setdefault(cell.method, {})[cell.seed, cell.fold] = scores
    subjects = sorted({subject for cells in found.values() for scores in cells.values() for subject in scores})
    place = {subject: at for at, subject in enumerate(subjects)}
    values, trainings = {}, {}
    for method, cells in found.items():
        rows = _trainings(cells)
        array = np.full((len(rows), len(subjects)), np.nan)
        for at, scores in enumerate(rows.values()):
            array[at, [place[subject] for subject in scores]] = list(scores.values())
        values[method], trainings[method] = array, list(rows)
    return Sample(measure, subjects, values, trainings)


def _trainings(cells: Mapping[tuple[int, int], Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Scores of each training under its name."""
    counts: dict[tuple[int, str], int] = {}
    for (seed, _), scores in cells.items():
        for subject in scores:
            counts[seed, subject] = counts.get((seed, subject), 0) + 1
    apart = max(counts.values(), default=1) > 1
    out: dict[str, dict[str, float]] = {}
    for (seed, fold), scores in sorted(cells.items()):
        out.setdefault(f"seed {seed}, fold {fold}" if apart else f"seed {seed}", {}).update(scores)
    return out
