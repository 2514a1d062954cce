# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Main table of a study: a row a method in each setting and part, as numbers and as texts."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from monai_mmseg.evaluation.layout import Sheet
from monai_mmseg.evaluation.score import MEASURES, Score
from monai_mmseg.report.facts import duration
from monai_mmseg.study.cells import CellResult
from monai_mmseg.study.content import Setting, StudyContent
from monai_mmseg.study.published import Published
from monai_mmseg.study.sample import ALL, in_part, take_sample
from monai_mmseg.study.statistics import Summary, summarise

MEAN = ""  # of the classes
UNPRINTED = ("hausdorff", "original_psnr", "original_ssim")  # in the files alone: the table is wide enough
Key = tuple[str, str]  # measure and class

TIMES = ("training", "evaluating", "predicting", "cpu")  # in the order of columns


class Row(NamedTuple):
    """A method in one part of a setting."""

    method: str
    values: Mapping[Key, Summary]
    missed: int  # organs, over all trainings
    present: int
    spurious: int
    published: Mapping[str, str]  # class, or MEAN, to the paper's number
    trained: Mapping[str, float]  # parameters, steps, seconds of training: means over the cells


class Refusal(NamedTuple):
    """Cells of a method that gave nothing."""

    method: str
    state: str
    reason: str
    cells: int


class Block(NamedTuple):
    """A part of a setting."""

    part: str
    columns: list[Key]
    rows: list[Row]
    comparable: bool  # whether all methods were scored on the same subjects


def blocks(setting: Setting, published: Published | None = None) -> list[Block]:
    """Rows of each part of a setting; of many parts, those of all together first.

    Args:
        setting: with any cells.
        published: numbers of a paper to stand beside.

    Returns:
        A block a part, in order of appearance.
    """
    parts = [ALL, *setting.parts] if setting.many and setting.common == setting.parts else setting.parts
    return [_block(setting, part, published) for part in parts]


def _block(setting: Setting, part: str, published: Published | None) -> Block:
    classes = list(dict.fromkeys(n for _, table in setting.tables for n in table.select(in_part(part)).cases("class")))
    columns = [("dice", name) for name in classes] if "dice" in setting.measures else []
    columns += [(measure, MEAN) for measure in setting.measures]
    found: dict[str, dict[Key, Summary]] = {}
    subjects: dict[str, frozenset[str]] = {}
    for measure, name in columns:
        sample = take_sample(setting.tables, measure, part, where=_of(name) if name else None)
        for method, values in sample.values.items():
            # an interval of each class would cost more than it says
            found.setdefault(method, {})[measure, name] = summarise(values, confidence=None if name else 0.95)
            known = (values == values).any(axis=0)
            subjects[method] = frozenset(s for s, seen in zip(sample.subjects, known, strict=True) if seen)
    columns = [key for key in columns if any(key in values for values in found.values())]
    rows = [_row(setting, part, method, found[method], published) for method in setting.methods if method in found]
    return Block(part, columns, rows, len(set(subjects.values())) == 1)


def _of(name: str) -> Callable[[Score], bool]:
    return lambda score: score.case.get("class") == name


def _row(setting: Setting, part: str, method: str, values: Mapping[Key, Summary], published: Published | None) -> Row:
    flags = [s.flag for s in _scores(setting, method, part) if "class" in s.case]
    organs = len(flags) - flags.count("spurious") - flags.count("empty")
    beside = published.of(setting.name, part, method) if published else {}
    return Row(
        method, values, flags.count("missed"), organs, flags.count("spurious"), beside, _trained(setting, method)
    )


def _scores(setting: Setting, method: str, part: str) -> list[Score]:
    wanted = in_part(part)
    return [score for cell, table in setting.tables if cell.method == method for score in table if wanted(score)]


def _trained(setting: Setting, method: str) -> dict[str, float]:
    done = [one for one in setting.cells if one.cell.method == method and one.state == "done"]
    numbers: dict[str, list[float]] = {
        "parameters": [one.parameters for one in done],
        "steps": [one.steps for one in done],
        "seconds": [one.seconds.get("training", one.seconds.get("predicting", 0.0)) for one in done],
    }
    return {name: math.fsum(found) / len(found) for name, found in numbers.items() if found and any(found)}


def refusals(setting: Setting) -> list[Refusal]:
    """Methods, or single cells of them, that were refused or failed.

    Args:
        setting: with any cells.

    Returns:
        One entry a method and reason.
    """
    counts: dict[tuple[str, str, str], int] = {}
    for one in setting.cells:
        if one.state != "done":
            key = (one.cell.method, one.state, one.reason)
            counts[key] = counts.get(key, 0) + 1
    return [Refusal(*key, count) for key, count in counts.items()]


# -- texts --------------------------------------------------------------------------------------------------------


def heading(key: Key) -> str:
    """Head of a column.

    Examples:
        >>> heading(("dice", "LV")), heading(("hausdorff95", ""))
        ('Dice LV', 'HD95 [mm]')
    """
    measure, name = key
    return f"{MEASURES[measure].heading} {name}" if name else MEASURES[measure].title


def mean_text(summary: Summary | None, measure: str) -> str:
    """Mean as printed; a dash where there is none."""
    return "–" if summary is None else f"{summary.mean:.{MEASURES[measure].digits}f}"


def spread_text(summary: Summary | None, measure: str) -> str:
    """Both deviations, of trainings and of subjects; a dash for one that a single number cannot have."""
    if summary is None:
        return ""
    digits = MEASURES[measure].digits
    found = [f"{sd:.{digits}f}" if math.isfinite(sd) else "–" for sd in (summary.sd_trainings, summary.sd_subjects)]
    return " / ".join(found)


def count_text(value: float | None) -> str:
    """A large number in few letters; a dash for nothing.

    Examples:
        >>> count_text(34526149.0), count_text(250), count_text(None)
        ('34.5 M', '250', '–')
    """
    if value is None:
        return "–"
    for size, unit in ((1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:.0f}"


def time_text(seconds: float | None) -> str:
    """A time in words; a dash for none."""
    return duration(seconds) if seconds else "–"


def sheet(setting: Setting, block: Block) -> Sheet:
    """The block as a table of texts.

    Args:
        setting: that the block is of.
        block: from :func:`blocks`.

    Returns:
        Rows of numbers, then refused methods with their reason.
    """
    keys = [key for key in block.columns if key[0] not in UNPRINTED]
    counts = ["missed", "trainings × subjects", "parameters", "steps", "time"]
    beside = _beside(block, setting.main)
    rows: list[list[str]] = []
    for row in block.rows:
        cells = [text for key in keys for text in _cells(row, key, setting.main, beside)]
        main = row.values.get((setting.main or "", MEAN), next(iter(row.values.values())))
        cells += [f"{row.missed} of {row.present}" if row.present else "–", f"{main.trainings} × {main.subjects}"]
        cells += [count_text(row.trained.get("parameters")), count_text(row.trained.get("steps"))]
        rows.append([row.method, *cells, time_text(row.trained.get("seconds"))])
    heads = [head for key in keys for head in _heads(key, setting.main, beside)]
    width = len(heads) + len(counts)
    rows += [[one.method, f"{one.state}: {one.reason}", *[""] * (width - 1)] for one in refusals(setting)]
    return Sheet(f"{setting.name}, {block.part}" if block.part else setting.name, ["method"], [*heads, *counts], rows)


def _beside(block: Block, main: str | None) -> Key | None:
    """The column that a paper's numbers stand beside: Dice by its own rule where that was measured."""
    if not main or not any(row.published for row in block.rows):
        return None
    return ("paper_dice", MEAN) if ("paper_dice", MEAN) in block.columns else (main, MEAN)


def _heads(key: Key, main: str | None, beside: Key | None) -> list[str]:
    spreads = ["± trainings / subjects", "95 % interval"] if key == (main, MEAN) else []
    return [heading(key), *spreads, *(["published"] if key == beside else [])]


def _cells(row: Row, key: Key, main: str | None, beside: Key | None) -> list[str]:
    found = row.values.get(key)
    spreads = [spread_text(found, key[0]), interval_text(found, key[0])] if key == (main, MEAN) else []
    return [mean_text(found, key[0]), *spreads, *([row.published.get(MEAN, "–")] if key == beside else [])]


def interval_text(summary: Summary | None, measure: str) -> str:
    """Both ends of the interval; a dash where there is none."""
    if summary is None or summary.interval is None:
        return "–"
    digits = MEASURES[measure].digits
    return f"{summary.interval.low:.{digits}f} to {summary.interval.high:.{digits}f}"


def spent(cells: Sequence[CellResult]) -> tuple[list[str], list[list[str]]]:
    """Time of all cells of each method.

    Args:
        cells: any.

    Returns:
        What was measured, and a line of texts a method.

    Examples:
        >>> spent([])
        ([], [])
    """
    totals: dict[str, dict[str, float]] = {}
    for one in cells:
        into = totals.setdefault(one.cell.method, {})
        for name, seconds in one.seconds.items():
            into[name] = into.get(name, 0.0) + seconds
    kinds = list(dict.fromkeys(name for found in totals.values() for name in found))
    kinds.sort(key=lambda kind: TIMES.index(kind) if kind in TIMES else len(TIMES))
    rows = {method: [time_text(found.get(kind)) for kind in kinds] for method, found in totals.items() if found}
    return kinds, [[method, *texts] for method, texts in rows.items()]


# -- files --------------------------------------------------------------------------------------------------------


def table_csv(content: StudyContent, found: Mapping[str, Sequence[Block]]) -> str:
    """Every number of the main tables, one row a setting, part, class and method.

    Args:
        content: of a study.
        found: blocks of each setting.

    Returns:
        Comma-separated text with a header line; class is empty for the mean of the classes.
    """
    measures = list(dict.fromkeys(m for parts in found.values() for b in parts for m, _ in b.columns))
    fields = ("mean", "sd_trainings", "sd_subjects", "low", "high")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["setting", "part", "class", "method", "state", "subjects", "trainings"]
    head += [f"{measure}_{name}" for measure in measures for name in fields]
    writer.writerow([*head, "published", "missed", "organs", "parameters", "steps", "training_seconds", "reason"])
    for setting in content.settings:
        for block in found[setting.name]:
            for name in dict.fromkeys(name for _, name in reversed(block.columns)):
                for row in block.rows:
                    writer.writerow([setting.name, block.part or "all", name, *_csv_row(row, name, measures)])
        for one in refusals(setting):
            empty = [""] * (2 + len(measures) * len(fields) + 6)
            writer.writerow([setting.name, "", "", one.method, one.state, *empty, one.reason])
    return out.getvalue()


def _csv_row(row: Row, name: str, measures: Sequence[str]) -> list[Any]:
    values = {measure: row.values.get((measure, name)) for measure in measures}
    first = next((one for one in values.values() if one), None)
    numbers: list[Any] = []
    for one in values.values():
        interval = one.interval if one else None
        numbers += [one.mean, one.sd_trainings, one.sd_subjects] if one else [""] * 3
        numbers += [interval.low, interval.high] if interval else ["", ""]
    counts = [first.subjects, first.trainings] if first else ["", ""]
    of_all = [row.missed, row.present, *(row.trained.get(key, "") for key in ("parameters", "steps", "seconds"))]
    digits = [round(n, 6) if isinstance(n, float) and math.isfinite(n) else "" if n != n else n for n in numbers]
    return [row.method, "done", *counts, *digits, row.published.get(name, ""), *(of_all if not name else [""] * 5), ""]


def scores_csv(content: StudyContent) -> str:
    """Scores of every subject, training and method.

    Args:
        content: of a study.

    Returns:
        Comma-separated text with a header line.
    """
    every = [(cell, score) for one in content.settings for cell, table in one.tables for score in table]
    keys = list(dict.fromkeys(key for _, score in every for key in score.case))
    measures = [name for name in MEASURES if any(name in score.values for _, score in every)]
    person = ["person"] if any(score.person for _, score in every) else []  # whose visits count as one
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["setting", "method", "fold", "seed", *keys, "subject", *person, *measures, "flag"])
    for cell, score in every:
        case = [score.case.get(key, "") for key in keys]
        values = [score.values.get(name, "") for name in measures]
        whose = [score.subject, score.whose] if person else [score.subject]
        writer.writerow([cell.setting, cell.method, cell.fold, cell.seed, *case, *whose, *values, score.flag])
    return out.getvalue()
