# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A cell of a method that is no network: predictions of the tested images, scored as all others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from monai_mmseg import baselines
from monai_mmseg.data.datalist import load_datalist
from monai_mmseg.evaluation.evaluate import evaluate_predictions
from monai_mmseg.files import write_text
from monai_mmseg.study.cells import SCORES, Cell, CellResult
from monai_mmseg.study.facts import Facts
from monai_mmseg.study.methods import Method


def run_baseline_cell(
    method: Method, cell: Cell, folder: Path, data: Path, facts: Facts, paper_dice: str | bool
) -> CellResult:
    """Predict and score one cell.

    Args:
        method: of the kind "baseline"; its option ``function`` is one of :mod:`monai_mmseg.baselines`.
        cell: which.
        folder: where everything goes.
        data: folder of its datalist.
        facts: of the datalist.
        paper_dice: also Dice by the rule of this paper.
    """
    options = dict(method.options)
    function = getattr(baselines, options.pop("function"))
    clock, cpu = time.monotonic(), time.thread_time()
    items, out = load_datalist(data / "datalist.json", "test"), folder / "predictions"
    found = function(items, facts.source, facts.target, out, overwrite=True, **options)
    clock, cpu = time.monotonic() - clock, time.thread_time() - cpu
    # a subject without a label of the source is none of its failures; the page says that others have it
    helped = {item["subject"] for item in items if item["modality"] == facts.source and item.get("label")}
    subjects = {item["subject"] for item in items if item["modality"] == facts.target} & helped
    about: dict[str, Any] = {"modality": facts.target, "section": "test", "method": method.name, "subjects": subjects}
    table = evaluate_predictions(data / "datalist.json", found, paper_dice=paper_dice, **about)
    write_text(folder / SCORES, table.to_json())
    return CellResult(cell, folder, "done", "", {"predicting": round(clock, 2), "cpu": round(cpu, 2)})
