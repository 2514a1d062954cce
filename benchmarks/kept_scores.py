# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Scores that `benchmarks/results` keeps, of one call or of several together, as a study has them in memory."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from benchmarks import ROOT
from monai_mmseg.evaluation import Score, ScoreTable
from monai_mmseg.study import Cell, CellResult
from monai_mmseg.study.content import Setting

RESULTS = ROOT / "benchmarks" / "results"


def read_kept(files: Sequence[str], modality: str, methods: Sequence[str] = ()) -> list[Setting]:
    """Settings by the number in their name; of two files with one cell the last one counts.

    Args:
        files: tables of scores below `benchmarks/results`, with wildcards, or anywhere, such as `scores.csv` of a
            study. One without a column ``setting`` is of the setting that its name ends with.
        modality: whose scores; a table without this column has one.
        methods: which, in this order; none: all that are there.

    Raises:
        FileNotFoundError: a file is not there.
    """
    found: dict[Cell, list[Score]] = {}
    for pattern in files:
        paths = [] if Path(pattern).is_absolute() else sorted(RESULTS.glob(pattern))
        paths = paths or [path for path in [Path(pattern)] if path.is_file()]
        if not paths:
            raise FileNotFoundError(f"{RESULTS / pattern}: no such table of scores.")
        for path in paths:
            here: dict[Cell, list[Score]] = {}
            for cell, score in _rows(path, modality, methods):
                here.setdefault(cell, []).append(score)
            found |= here
    names = methods or sorted({cell.method for cell in found})
    settings: dict[str, Setting] = {}
    for cell in sorted(found, key=lambda one: (number_of(one.setting), names.index(one.method), one.seed)):
        setting = settings.setdefault(cell.setting, Setting(cell.setting, [], []))
        setting.cells.append(CellResult(cell, Path(), "done"))
        setting.tables.append((cell, ScoreTable(found[cell])))
    return list(settings.values())


def number_of(setting: str) -> float:
    """The number that the name of a setting ends with; 0 without one.

    Examples:
        >>> number_of("target_12.5"), number_of("all")
        (12.5, 0.0)
    """
    found = re.search(r"_(\d+(?:\.\d+)?)$", setting)
    return float(found[1]) if found else 0.0


def _rows(path: Path, modality: str, methods: Collection[str]) -> Iterator[tuple[Cell, Score]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            of = row.get("modality") or modality
            if (methods and row["method"] not in methods) or of != modality or row.get("class") == "":
                continue
            setting = row.get("setting") or path.stem.partition("_")[2]
            case = {"modality": of, **{key: row[key] for key in ("class", "sequences") if key in row}}
            values = {name: float(row[name]) for name in ("dice", "surface_distance") if row.get(name)}
            cell = Cell(row["method"], setting, int(row.get("fold") or 0), int(row["seed"]))
            yield cell, Score(row["method"], row["subject"], case, values, person=row.get("person") or "")
