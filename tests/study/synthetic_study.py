# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Studies with chosen scores."""

from __future__ import annotations

import json

from monai_mmseg.evaluation import Score, ScoreTable
from monai_mmseg.study import Cell, CellResult, write_cell


def scores(method, dice, *, modality="lge", name="LV", hd95=10.0):
    """A score a subject, with the Dice that a mapping or a list gives it."""
    given = dice if isinstance(dice, dict) else {f"s{at:02}": value for at, value in enumerate(dice)}
    return [
        Score(
            method,
            subject,
            {"modality": modality, "class": name},
            {"dice": float(value), "hausdorff95": hd95, "surface_distance": 2.0},
            flag="" if value else "missed",
        )
        for subject, value in given.items()
    ]


def add_cell(study, method, found, *, setting="target_0", fold=0, seed=0, curve=(), **about):
    """A cell that is done; ``found`` are its scores, ``curve`` its validation Dice."""
    cell = Cell(method, setting, fold, seed)
    folder = cell.folder(study)
    folder.mkdir(parents=True)
    ScoreTable(found).save(folder, "scores")
    if curve:
        lines = [f"{at},{value}" for at, value in enumerate(curve, 1)]
        (folder / "terms.csv").write_text("\n".join(["epoch,validation/val_mean_dice", *lines]) + "\n")
    write_cell(CellResult(cell, folder, "done", **about))
    return folder


def add_refused(study, method, reason, *, setting="target_0", state="refused", seed=0):
    """A cell that gave nothing."""
    cell = Cell(method, setting, 0, seed)
    cell.folder(study).mkdir(parents=True)
    write_cell(CellResult(cell, cell.folder(study), state, reason))


def define(study, **about):
    """The definition of a study."""
    (study / "study.json").write_text(json.dumps(about))
