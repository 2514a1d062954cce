# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Methods whose tables were scored against different labels: their numbers say nothing about which one is better."""

from __future__ import annotations

import math
from itertools import combinations

from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.names import first_names

ROUNDING = 1e-5  # share of a volume: below a voxel of ten thousand, above the float32 of a header


def other_labels(table: ScoreTable) -> dict[tuple[str, str], list[str]]:
    """Subjects whose true volume differs between two methods: labels were changed between their evaluations.

    Use it before methods are compared. Labels of the same volumes that were moved are not noticed.

    Args:
        table: of several methods; scores without volumes, such as those of older files, do not count.

    Returns:
        Two methods to the subjects, for those that have any.

    Examples:
        >>> from monai_mmseg.evaluation import Score
        >>> case, of = {"modality": "lge", "class": "LV"}, {"a": 10.0, "b": 10.0, "c": 12.0}
        >>> other_labels(ScoreTable(Score(name, "s1", case, {"true_volume": ml}) for name, ml in of.items()))
        {('a', 'c'): ['s1'], ('b', 'c'): ['s1']}
    """
    truths: dict[str, dict[tuple[str, ...], float]] = {}
    for score in table:
        if "true_volume" in score.values:
            place = (score.subject, *(text for pair in sorted(score.case.items()) for text in pair))
            truths.setdefault(score.method, {})[place] = score.values["true_volume"]
    found = {}
    for (one, first), (two, second) in combinations(truths.items(), 2):
        shared = [place for place in first if place in second]
        differing = [at[0] for at in shared if not math.isclose(first[at], second[at], rel_tol=ROUNDING, abs_tol=1e-9)]
        if differing:
            found[one, two] = list(dict.fromkeys(differing))
    return found


def label_notes(table: ScoreTable) -> list[str]:
    """What a reader of the page has to know of it: a sentence a modality and pair of methods.

    Args:
        table: all evaluations of a run.

    Returns:
        Sentences; none where all labels were the same.

    Examples:
        >>> label_notes(ScoreTable())
        []
    """
    return [
        f"{one} and {two} were scored against different labels of {modality} (true volumes of {first_names(subjects)} "
        "differ): they are not compared. Evaluate both again."
        for modality in table.cases("modality")
        for (one, two), subjects in other_labels(table.select(modality=modality)).items()
    ]
