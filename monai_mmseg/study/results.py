# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a study found, as text and for other programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.evaluation.layout import EMPTY_COLUMN
from monai_mmseg.report.facts import duration
from monai_mmseg.study.cells import CellResult
from monai_mmseg.study.content import StudyContent, names
from monai_mmseg.study.data import TRAINING
from monai_mmseg.study.published import Published
from monai_mmseg.study.rows import Block, refusals, sheet
from monai_mmseg.study.tested import Tested

NOTES = (
    "Mean: over subjects, each with its mean over trainings. “± trainings / subjects”: standard deviations (n − 1), of "
    "the trainings' means and of the subjects' means.\n"
    "95 % interval: hierarchical bootstrap. Trainings and subjects are drawn with replacement, the subjects alike for "
    "all trainings and, for a difference, for both methods. With few trainings or subjects it is too short; with one "
    "training it is the uncertainty of the subjects alone.\n"
    "Tests are on subjects that both methods have: paired permutation test (signs of the differences of the means), "
    "Wilcoxon's signed-rank test, Student's paired t-test. “Holm”: corrected for all pairs of methods.\n"
    "They ask whether other patients would show the difference with these trainings, not whether other trainings "
    "would: compare it with the spread of the trainings.\n"
    "Critical difference: Friedman's mean ranks with Nemenyi's test at 5 %, on subjects that all methods have."
).splitlines()


def facts(content: StudyContent) -> list[tuple[str, str]]:
    """What was asked and how far it is.

    Args:
        content: of a study.

    Returns:
        Name and text of each.
    """
    about, cells = content.about, content.cells
    states = [one.state for one in cells]
    counts = [f"{states.count(state)} {state}" for state in ("done", "refused", "failed") if state in states]
    counts += [f"{len(content.unfinished)} not finished"] if content.unfinished else []
    scores = [score for setting in content.settings for _, table in setting.tables for score in table]
    visits, people = len({score.subject for score in scores}), len({score.whose for score in scores})
    phantom = [f"{name} {value}" for name, value in (about.get("phantom") or {}).items()]
    told = {
        "data": str(about.get("datalist") or "") or ", ".join(["phantom", *phantom] if phantom else []),
        "subjects": f"{people} scored" + (f", in {visits} visits" if people < visits else ""),
        "methods": ", ".join(dict.fromkeys([*names(about.get("methods")), *(one.cell.method for one in cells)])),
        "settings": ", ".join(setting.name for setting in content.settings),
        "labels that train, fold 0": _labels(content),
        "folds": "number " + ", ".join(str(fold) for fold in sorted({one.cell.fold for one in cells})),
        "seeds": "number " + ", ".join(str(seed) for seed in sorted({one.cell.seed for one in cells})),
        "budget of each training": _budget(about),
        "cells": ", ".join(counts),
        "made with": _made(cells),
    }
    return [(name, text) for name, text in told.items() if text]


def _labels(content: StudyContent) -> str:
    """Images with a label of each setting, by the datalist that its methods read: a share is rounded."""
    found = []
    for setting in content.settings:
        path = content.folder / "data" / setting.name / "fold0" / "datalist.json"
        if path.is_file():
            items = read_datalist(path).select(fold=TRAINING)
            counts: dict[str, list[bool]] = {}
            for item in items:
                counts.setdefault(item["modality"], []).append(bool(item.get("label")))
            told = ", ".join(f"{name} {sum(one)} of {len(one)}" for name, one in counts.items())
            found.append(f"{setting.name}: {told}" if len(content.settings) > 1 else told)
    return "; ".join(found)


def _made(cells: Sequence[CellResult]) -> str:
    """Software and machines: cells of several are equal in neither speed nor, maybe, method."""
    found = Counter(one.made or "not recorded" for one in cells if one.state == "done")
    if set(found) == {"not recorded"}:
        return ""
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{text}: {count} cell{'s' if count > 1 else ''}" for text, count in found.most_common())


def _budget(about: Mapping[str, Any]) -> str:
    if isinstance(about.get("budget"), int | float):
        return duration(about["budget"])
    return str(about.get("budget") or (f"{about['steps']} steps" if about.get("steps") else "not recorded"))


def notes(content: StudyContent) -> list[str]:
    """What a reader has to know, one paragraph each: of this page, then what the tables of scores say of themselves.

    Args:
        content: of a study.

    Returns:
        Texts.
    """
    told = [note for setting in content.settings for _, table in setting.tables for note in table.notes()[1:]]
    return [*NOTES, *dict.fromkeys(note.replace(EMPTY_COLUMN, "") for note in told)]  # no such column here


def markdown(content: StudyContent, found: Mapping[str, Sequence[Block]], published: Published | None) -> str:
    """The main tables and the notes as text.

    Args:
        content: of a study.
        found: blocks of each setting.
        published: the paper that is beside.

    Returns:
        Markdown.
    """
    lines = [f"# {content.title}", ""]
    lines += [*(f"- {name}: {text}" for name, text in facts(content)), ""]
    lines += [*(f"**{problem}**" for problem in content.problems), ""] if content.problems else []
    for setting in content.settings:
        for block in found[setting.name]:
            lines += [f"## {setting.name}{', ' + block.part if block.part else ''}", ""]
            lines += sheet(setting, block)._replace(title="").markdown()
        if not found[setting.name]:
            lines += [f"## {setting.name}", ""]
            lines += [f"- {one.method}: {one.state}, {one.reason}" for one in refusals(setting)]
    lines += [f"- published: {published.source}"] if published else []
    lines += [f"- {note}" for note in notes(content)]
    lines += ["", "Not finished:", "", *(f"- {place}" for place in content.unfinished)] if content.unfinished else []
    return "\n".join(lines) + "\n"


def results(
    content: StudyContent, found: Mapping[str, Sequence[Block]], tests: Mapping[str, Sequence[Tested]]
) -> dict[str, Any]:
    """All numbers for other programs.

    Args:
        content: of a study.
        found: blocks of each setting.
        tests: of each setting.

    Returns:
        What :func:`plain` makes JSON of.
    """
    settings = []
    for setting in content.settings:
        rows = [
            {
                "part": block.part,
                **row._asdict(),
                "values": [{"measure": m, "class": name, **one._asdict()} for (m, name), one in row.values.items()],
            }
            for block in found[setting.name]
            for row in block.rows
        ]
        tested = [
            {
                "part": one.part or "all",
                "measure": one.sample.measure,
                "comparisons": [test._asdict() for test in one.comparisons],
                "ranking": one.ranking._asdict() if one.ranking else None,
            }
            for one in tests[setting.name]
        ]
        refused = [one._asdict() for one in refusals(setting)]
        settings.append({"name": setting.name, "rows": rows, "tests": tested, "refused": refused})
    return {
        "format": "monai_mmseg.study_results/1",
        "facts": dict(facts(content)),
        "settings": settings,
        "unfinished": content.unfinished,
        "problems": content.problems,
    }


def plain(value: Any) -> Any:
    """For JSON: named tuples as objects, what is not finite as null, six digits.

    Examples:
        >>> plain({"a": (0.12345678, float("nan"))})
        {'a': [0.123457, None]}
    """
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
