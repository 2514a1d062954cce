# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tables, tests of the paper's claims and a picture, from the cells of ``csa_phantom``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wilcoxon

from benchmarks.accuracy.unpaired_cells import (
    SEEDS_NOTE,
    Cells,
    by_scope,
    class_tables,
    draw_dice,
    join_methods,
    line_of,
    overview,
    subjects_of,
    verdict,
)
from benchmarks.cells import paired_tests, table_lines, with_holm
from monai_mmseg.metrics import holm_correction

METHODS = (
    *("single", "ummkd", "joint", "msbn", "affinity", "csa"),
    *("size_none", "size_fraction", "size_input"),
)
CLAIMS = (("csa", "ummkd"), ("csa", "affinity"), ("csa", "msbn"), ("csa", "joint"), ("csa", "single"))
SIZES = (("size_none", "csa"), ("size_fraction", "csa"), ("size_input", "csa"), ("size_none", "msbn"))
MODALITIES = ("lge", "bssfp")
TESTED = {"dice": "Dice", "hausdorff95": "HD95 [mm]", "hausdorff": "HD [mm]"}


def summarise(cells: Cells) -> dict[str, Any]:
    """Means over seeds and patients, and paired tests over patients."""
    methods = join_methods(cells, METHODS, "single", MODALITIES)
    some = next(iter(methods.values()))[0] if methods else {"scores": {}}
    return {
        "seeds": sorted({cell["seed"] for cell in cells}),
        "patients": {modality: len(subjects_of(some, modality)) for modality in MODALITIES},
        "lines": {name: _line(found) for name, found in methods.items()},
        "tests": {measure: _tests(methods, measure) for measure in TESTED},
    }


def _line(found: Cells) -> dict[str, Any]:
    """One method, and what the affinities added to the loss at the end."""
    affinity = [one["terms"]["affinity"] for one in found if one["terms"].get("affinity")]
    return {**line_of(found, MODALITIES), "affinity": affinity}


def _tests(methods: Mapping[str, Cells], measure: str) -> list[dict[str, Any]]:
    """All comparisons by one measure (mean of the classes and seeds, a number a patient), corrected together."""
    tests: list[dict[str, Any]] = []
    for scope, compared in by_scope(methods, MODALITIES, measure).items():
        for test in paired_tests(compared, (*CLAIMS, *SIZES), scope=scope):
            tests.append({**test, "p_wilcoxon": signed_rank(compared[test["a"]], compared[test["b"]])})
    numbered = {str(number): test["p_wilcoxon"] for number, test in enumerate(tests)}
    ranked = list(holm_correction(numbered).values()) if tests else []
    higher = measure == "dice"
    return [
        {**test, "p_wilcoxon_holm": p, "verdict": verdict(test, higher=higher)}
        for test, p in zip(with_holm(tests), ranked, strict=True)
    ]


def signed_rank(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; 1 where the two never differ."""
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def markdown(summary: Mapping[str, Any]) -> str:
    """The summary as tables."""
    rows = [f"Phantom seed {summary['phantom_seed']}, training seeds {summary['seeds']}.", ""]
    lines, count = summary["lines"], summary["patients"]
    if not lines:
        return "\n".join([*rows, "No method is complete yet.", ""])
    about = f"{count['lge']} LGE and {count['bssfp']} bSSFP test patients: mean ± sd over training seeds."
    rows += [f"{about} Distances in mm; a structure that was missed gets the diagonal of its image.", ""]
    terms = {name: f"{np.mean(x):.2g}" if (x := line["affinity"]) else "–" for name, line in lines.items()}
    rows += overview(lines, MODALITIES, "affinity term", terms)
    rows += [
        "",
        "Affinity term: in the last epoch, before its weight of 0.5; each size normalisation has a scale of its",
    ]
    rows += ["own. Each structure:"]
    for modality in MODALITIES:
        heads, body = class_tables(lines, modality)
        rows += ["", f"{modality.upper()}:", "", *table_lines(heads, body)]
    rows += ["", SEEDS_NOTE]
    for measure, name in TESTED.items():
        about = (
            "paired permutation and Wilcoxon signed-rank tests over patients, all of a kind corrected together (Holm)"
        )
        rows += ["", f"{name}, {about}:", ""]
        heads = ["a", "b", "patients", "a - b", "p", "p (Holm)", "p Wilcoxon", "p Wilcoxon (Holm)", "a is"]
        rows += table_lines(heads, [_tested(test) for test in summary["tests"][measure]], texts=(0, 1, 2, 8))
    return "\n".join(rows) + "\n"


def _tested(test: Mapping[str, Any]) -> Sequence[str]:
    numbers = [f"{test[key]:.4f}" for key in ("p", "p_holm", "p_wilcoxon", "p_wilcoxon_holm")]
    return [test["a"], test["b"], test["scope"], f"{test['difference']:+.3f}", *numbers, test["verdict"]]


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Dice of every method and modality."""
    if summary["lines"]:
        panels = {
            f"{modality.upper()}, {summary['patients'][modality]} test patients": {
                name: line[modality] for name, line in summary["lines"].items()
            }
            for modality in MODALITIES
        }
        draw_dice([panels], path, ours="csa")
