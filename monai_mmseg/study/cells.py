# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One cell of a study, and what it leaves behind: ``cells/<setting>/<method>/fold<F>_seed<S>/cell.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from monai_mmseg.files import write_text

if TYPE_CHECKING:
    from monai_mmseg.evaluation.table import ScoreTable

FILE, SCORES = "cell.json", "scores.json"


class Cell(NamedTuple):
    """One training of one method, or one run of a baseline."""

    method: str
    setting: str  # of the data, such as "target_0"
    fold: int
    seed: int

    def folder(self, study: Path) -> Path:
        """Where it runs."""
        return study / "cells" / self.setting / self.method / f"fold{self.fold}_seed{self.seed}"


class CellResult(NamedTuple):
    """What a cell left."""

    cell: Cell
    folder: Path
    state: Literal["done", "refused", "failed"]
    reason: str = ""  # why it was refused or failed
    seconds: Mapping[str, float] = {}  # "training", "evaluating": of the clock; "cpu": of processes
    steps: int = 0  # updates of the weights
    parameters: int = 0  # trained; 0 for baselines
    made: str = ""  # software and machine

    @property
    def table(self) -> ScoreTable:
        """Scores of the tested subjects, the method named as in the study."""
        from monai_mmseg.evaluation.table import ScoreTable

        return ScoreTable.from_json(self.folder / SCORES)


def write_cell(result: CellResult) -> None:
    """Keep a result; the scores lie there already."""
    content: dict[str, Any] = {**result.cell._asdict(), **result._asdict()}
    del content["cell"], content["folder"]
    content["seconds"] = dict(result.seconds)
    write_text(result.folder / FILE, json.dumps(content, indent=1) + "\n")


def read_cell(folder: Path) -> CellResult | None:
    """Result of a cell.

    Args:
        folder: of the cell.

    Returns:
        What it left; ``None`` where it did not end, or its file is broken and it has to run again.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        cell = Cell(*(content.pop(name) for name in Cell._fields))
        return CellResult(cell, folder, **content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_cells(study: Path) -> list[CellResult]:
    """All finished cells of a study, in the order of setting, method, fold and seed.

    Args:
        study: folder of the study.

    Returns:
        What ran; cells that were cut off are not among them.
    """
    found = filter(None, map(read_cell, sorted((study / "cells").glob("*/*/fold*_seed*"))))
    return sorted(found, key=lambda one: (one.cell.setting, one.cell.method, one.cell.fold, one.cell.seed))
