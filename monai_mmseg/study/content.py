# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the page of a study is made of: its definition, its cells and their scores, and what is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_mmseg.evaluation.score import MEASURES
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.names import first_names
from monai_mmseg.study.cells import SCORES, Cell, CellResult, read_cells
from monai_mmseg.study.contents import changed_files
from monai_mmseg.study.sample import Sample, part_of, take_sample

DEFINITION = "study.json"  # in the folder of a study: what its cells are of
FEW_PARTS = 4
MAIN = ("dice", "psnr", "ssim")  # what a study is about: the first one that was measured


@dataclass
class Setting:
    """All that ran in one setting of the data."""

    name: str
    cells: list[CellResult]  # in the order of methods, folds and seeds
    tables: list[tuple[Cell, ScoreTable]]  # of the cells that are done

    @property
    def methods(self) -> list[str]:
        """Of all cells, also those that were refused."""
        return list(dict.fromkeys(one.cell.method for one in self.cells))

    @property
    def parts(self) -> list[str]:
        """What was scored apart: modalities, subsets of them, pairs."""
        return list(dict.fromkeys(part_of(score) for _, table in self.tables for score in table))

    @property
    def measures(self) -> list[str]:
        """That are printed and that some cell has, in the order of columns."""
        found = {name for _, table in self.tables for name in table.measures}
        return [name for name, about in MEASURES.items() if name in found and about.printed]

    @property
    def main(self) -> str | None:
        """The measure that tests and charts are about."""
        return next((name for name in MAIN if name in self.measures), None)

    @property
    def common(self) -> list[str]:
        """Parts that every method has: what numbers over several parts may be about."""
        found: dict[str, set[str]] = {}
        for cell, table in self.tables:
            found.setdefault(cell.method, set()).update(part_of(score) for score in table)
        return [part for part in self.parts if all(part in known for known in found.values())]

    @property
    def many(self) -> bool:
        """Whether there are too many parts to show each in full, as subsets of modalities."""
        return len(self.parts) > FEW_PARTS

    def sample(self, measure: str, part: str | None = None) -> Sample:
        """Scores over all common parts; over all parts where there is none in common.

        Args:
            measure: which.
            part: this one alone.

        Returns:
            Arrays.
        """
        parts = self.common or self.parts if part is None else [part]
        return take_sample(self.tables, measure, where=lambda score: part_of(score) in parts)


@dataclass
class StudyContent:
    """A study in memory."""

    folder: Path
    about: dict[str, Any]  # definition; empty where there is none
    settings: list[Setting]
    unfinished: list[str]  # places of cells that were begun or planned and did not end
    problems: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)  # setting to items whose files are other ones now

    @property
    def title(self) -> str:
        """Name of the study."""
        return str(self.about.get("name") or self.folder.resolve().name)

    @property
    def cells(self) -> list[CellResult]:
        """All that ended."""
        return [cell for setting in self.settings for cell in setting.cells]

    def lead(self, setting: Setting | None = None) -> str | None:
        """Method of interest: the definition's, else its first trained one, else the one with the highest mean.

        Args:
            setting: where it must have scores; ``None``: somewhere.

        Returns:
            Its name; ``None`` without scores.
        """
        if setting is None:
            found = [self.lead(one) for one in self.settings]
            ours = self.about.get("ours")
            return str(ours) if ours in found else next(filter(None, found), None)
        values = setting.sample(setting.main).values if setting.main else {}
        trained = {one.cell.method for one in setting.cells if one.parameters}
        wanted = [str(self.about.get("ours")), *(name for name in names(self.about.get("methods")) if name in trained)]
        best = max(values, key=lambda name: float(np.nanmean(values[name])), default=None)
        return next((name for name in wanted if name in values), best)


def read_study(folder: str | Path) -> StudyContent:
    """Read whatever a study has left so far.

    Args:
        folder: of the study.

    Returns:
        The content; broken parts are left out and named in ``problems``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no cell of it has ended.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"study must be a folder, but {root} is {'a file' if root.exists() else 'not there'}.")
    results = read_cells(root)
    if not results:
        raise ValueError(f"study must hold at least one cell that ended, got none in {root / 'cells'}.")
    problems: list[str] = []
    about = _definition(root / DEFINITION, problems)
    order = names(about.get("methods"))
    settings, changed = [], {}
    for name in _ordered({one.cell.setting for one in results}, names(about.get("settings"))):
        own = [one for one in results if one.cell.setting == name]
        ranks = _ordered({one.cell.method for one in own}, order)
        own.sort(key=lambda one: (ranks.index(one.cell.method), one.cell.fold, one.cell.seed))
        settings.append(Setting(name, own, _tables(own, problems)))
        if found := changed_files(root, name, [one.cell.fold for one in own if one.state == "done"]):
            changed[name] = found
            problems.append(
                f"{name}: {first_names(found, 3)} changed since cells have ended: all scores are against the files as "
                "they were. Start the study anew with another --out."
            )
    unfinished = _unfinished(root, _planned(about, problems), results)
    return StudyContent(root, about, settings, unfinished, problems, changed)


def names(found: Any) -> list[str]:
    """Names of a part of a definition: of a list of names or of objects with a ``name``, or the keys of an object.

    Examples:
        >>> names(["a", {"name": "b"}]), names({"a": {}}), names(None)
        (['a', 'b'], ['a'], [])
    """
    if isinstance(found, str):
        return [found]
    if not isinstance(found, Iterable):
        return []
    return [str(one.get("name", "")) if isinstance(one, Mapping) else str(one) for one in found]


def _ordered(found: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """Those that are wanted in their order, then the others as people sort them: numbers by size."""

    def natural(name: str) -> list[tuple[float, str]]:
        return [(float(n) if n else 0.0, t) for n, t in re.findall(r"(\d+(?:\.\d+)?)|(\D+)", name)]

    rest = set(found)
    return [*(name for name in wanted if name in rest), *sorted(rest - set(wanted), key=natural)]


def _definition(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        problems.append(f"{path.name} is left out: {error}")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path.name} is left out: it must hold an object, got {type(found).__name__}.")
        return {}
    for key, wanted in (("phantom", dict), ("cells", list)):
        if found.get(key) is not None and not isinstance(found[key], wanted):
            problems.append(f"{path.name}: {key!r} is left out, which must be of type {wanted.__name__}.")
            del found[key]
    return found


def _planned(about: Mapping[str, Any], problems: list[str]) -> list[Cell]:
    """Cells of the definition; somebody may have written into it."""
    cells, broken = [], []
    for one in about.get("cells") or ():
        try:
            cells.append(Cell(str(one["method"]), str(one["setting"]), int(one["fold"]), int(one["seed"])))
        except (KeyError, TypeError, ValueError):
            broken.append(str(one))
    if broken:
        problems.append(
            f"{DEFINITION}: {len(broken)} of its 'cells' are left out, which must have {', '.join(Cell._fields)}: "
            f"{first_names(broken, 3)}."
        )
    return cells


def _tables(results: Iterable[CellResult], problems: list[str]) -> list[tuple[Cell, ScoreTable]]:
    tables = []
    for one in results:
        if one.state == "done":
            place = one.folder / SCORES
            try:
                tables.append((one.cell, one.table))
            except (OSError, ValueError) as error:
                problems.append(f"{'/'.join(place.parts[-4:])} is left out: {error}")
    return tables


def _unfinished(root: Path, planned: Iterable[Cell], results: Iterable[CellResult]) -> list[str]:
    """Cells of the definition, and folders, that have no result."""
    there, ended = {one.cell for one in results}, {one.folder for one in results}
    begun = {path for path in (root / "cells").glob("*/*/fold*_seed*") if path.is_dir()}
    lacking = (begun - ended) | {cell.folder(root) for cell in planned if cell not in there}
    return [_place(path) + ("" if path in begun else " (not begun)") for path in sorted(lacking)]


def _place(path: Path) -> str:
    return "/".join(path.parts[-3:])
