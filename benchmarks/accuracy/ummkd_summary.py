# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tables, tests of the paper's claims and a picture, from the cells of ``ummkd_phantom``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.unpaired_cells import (
    SEEDS_NOTE,
    Cells,
    by_scope,
    class_tables,
    draw_dice,
    join_methods,
    line_of,
    overview,
    part,
    subjects_of,
    values,
    verdict,
)
from benchmarks.cells import paired_tests, table_lines, table_of_tests, with_holm
from monai_mmseg.metrics import bootstrap_interval

METHODS = ("individual", "joint", "joint_kd", "y_shaped", "x_shaped", "chilopod", "ours", "ours_skip")
CLAIMS = (("ours", "chilopod"), ("chilopod", "joint"), ("ours", "individual"))  # the first is not the worse one
OTHERS = (("ours", "joint"), ("ours", "joint_kd"), ("ours", "y_shaped"), ("ours", "x_shaped"), ("ours_skip", "ours"))
MODALITIES = ("ct", "mr")


def summarise(cells: Cells) -> dict[str, Any]:
    """Means over seeds and subjects, and paired tests over subjects, of every dimension that has cells."""
    seeds = sorted({cell["seed"] for cell in cells})
    dims = sorted({cell["dims"] for cell in cells})
    return {"seeds": seeds, "dims": {str(d): _study([c for c in cells if c["dims"] == d]) for d in dims}}


def by_method(cells: Cells) -> dict[str, list[dict[str, Any]]]:
    """Method to one entry a seed: the two individual networks are one method, and count where both are there."""
    return join_methods(cells, METHODS, "individual", MODALITIES)


def _study(cells: Cells) -> dict[str, Any]:
    methods = by_method(cells)
    lines = {name: _line(found) for name, found in methods.items()}
    tests = {measure: _tests(methods, measure) for measure in ("dice", "hausdorff95")}
    some = next(iter(methods.values()))[0] if methods else {"scores": {}}
    return {
        "subjects": {modality: len(subjects_of(some, modality)) for modality in MODALITIES},
        "outliers": {modality: len(subjects_of(some, modality, outlier=True)) for modality in MODALITIES},
        "lines": lines,
        "tests": tests,
        "gains": _gains(methods),
    }


def _line(found: Cells) -> dict[str, Any]:
    """One method, its outliers, and the distillation loss on validation subjects at the end, a number a seed."""
    line = line_of(found, MODALITIES)
    line["distillation"] = [cell["distillation"]["loss"][-1] for cell in found if cell["distillation"]]
    for modality in MODALITIES:
        usual, odd = subjects_of(found[0], modality), subjects_of(found[0], modality, outlier=True)
        line[f"{modality} outliers"] = part(found, odd)
        line[f"{modality} with outliers"] = {"dice": part(found, usual + odd)["dice"]}
    return line


def _tests(methods: Mapping[str, Cells], measure: str) -> list[dict[str, Any]]:
    """All claims on a measure, corrected together."""
    tests = []
    for scope, compared in by_scope(methods, MODALITIES, measure).items():
        tests += paired_tests(compared, CLAIMS if scope in MODALITIES else (*CLAIMS, *OTHERS), scope=scope)
    return [{**test, "verdict": verdict(test, higher=measure == "dice")} for test in with_holm(tests)]


def _gains(methods: Mapping[str, Cells]) -> dict[str, dict[str, float]]:
    """Dice of ours over individual by modality, with 95 % intervals over subjects: is it most where cases are few?"""
    if not {"ours", "individual"} <= methods.keys():
        return {}
    gains = {}
    for modality in MODALITIES:
        ours, alone = (
            values(methods[name], subjects_of(methods[name][0], modality)).mean(0) for name in ("ours", "individual")
        )
        gains[modality] = bootstrap_interval(ours - alone)._asdict()
    return gains


def markdown(summary: Mapping[str, Any]) -> str:
    """The summary as tables, a chapter for each dimension."""
    rows = [f"Phantom seed {summary['phantom_seed']}, training seeds {summary['seeds']}.", ""]
    for dims, study in summary["dims"].items():
        rows += [f"## {dims}D", "", *_tables(study), ""]
    return "\n".join(rows).rstrip() + "\n"


def _tables(study: Mapping[str, Any]) -> list[str]:
    count, odd = study["subjects"], study["outliers"]
    if not study["lines"]:
        return ["No method is complete yet."]
    about = f"{count['ct']} CT and {count['mr']} MR test subjects: mean ± sd over training seeds."
    rows = [f"{about} Distances in mm; an organ that was missed gets the diagonal of its image.", ""]
    lines = study["lines"]
    losses = {name: f"{np.mean(x):.4f}" if (x := line["distillation"]) else "–" for name, line in lines.items()}
    rows += overview(lines, MODALITIES, "KD, validation", losses)
    for modality in MODALITIES:
        heads, body = class_tables(lines, modality)
        rows += ["", f"Each class of {modality.upper()}:", "", *table_lines(heads, body)]
    if any(odd.values()):
        rows += ["", f"Outliers: {odd['ct']} CT and {odd['mr']} MR with artefacts, and all subjects with them:", ""]
        heads = ["method", *(f"{what} {m.upper()}" for m in MODALITIES for what in ("Dice", "HD95", "Dice of all"))]
        body = [[name, *(text for m in MODALITIES for text in _outlier(line, m))] for name, line in lines.items()]
        rows += table_lines(heads, body)
    rows += ["", SEEDS_NOTE]
    for measure, name in (("dice", "Dice"), ("hausdorff95", "HD95 [mm]")):
        rows += ["", f"Paired permutation tests over subjects, {name}, all corrected together (Holm):", ""]
        rows += table_of_tests(study["tests"][measure], "subjects")
    if study["gains"]:
        gains = [
            f"{modality.upper()} {gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
            for modality, gain in study["gains"].items()
        ]
        rows += ["", f"Dice of ours over individual, 95 % interval over subjects: {', '.join(gains)}."]
    return rows


def _outlier(line: Mapping[str, Any], modality: str) -> list[str]:
    odd, everything = line[f"{modality} outliers"], line[f"{modality} with outliers"]
    if not odd:
        return ["–"] * 3
    return [f"{odd['dice']:.3f} ± {odd['sd_over_seeds']:.3f}", f"{odd['hausdorff95']:.1f}", f"{everything['dice']:.3f}"]


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Dice of every method and modality."""
    rows = []
    for dims, study in summary["dims"].items():
        panels = {}
        for modality in MODALITIES:
            title = f"{dims}D, {modality.upper()}, {study['subjects'][modality]} test subjects"
            panels[title] = {name: line[modality] for name, line in study["lines"].items()}
        if study["lines"]:
            rows.append(panels)
    if rows:
        draw_dice(rows, path, ours="ours")
