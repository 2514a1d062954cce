# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a report says: read from a run folder, with every missing or broken part named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from monai_mmseg.evaluation.reconstruction_table import ReconstructionTable
from monai_mmseg.evaluation.rows import MEASURES, ScoreRow
from monai_mmseg.evaluation.subset_table import SubsetTable
from monai_mmseg.evaluation.summary import FOREGROUND, MeanSd, SummaryRow, mean_sd, subject_means
from monai_mmseg.evaluation.table import EvaluationTable
from monai_mmseg.metrics.significance import paired_permutation_test
from monai_mmseg.runs.run_folder import (
    CAPTIONS,
    DISENTANGLEMENT,
    FIGURES,
    METRICS,
    RECONSTRUCTION,
    RUN,
    SUBSETS,
    TERMS,
    WARNINGS,
)
from monai_mmseg.runs.terms import read_terms

WORST_ROWS = 6
Table = TypeVar("Table", ReconstructionTable, SubsetTable)


@dataclass
class RunContent:
    """A run folder in memory.

    Args:
        run_dir: the folder.
        about: content of ``run.json``.
        table: all evaluations, joined.
        figures: file and caption.
        epochs: of the curves.
        terms: curves.
        disentanglement: measures.
        reconstruction: redrawn images, or ``None``.
        subsets: scores with each subset of the modalities, or ``None``.
        warnings: lines of ``warnings.txt``.
        problems: parts that are there and cannot be used, one sentence each.
    """

    run_dir: Path
    about: dict[str, Any] = field(default_factory=dict)
    table: EvaluationTable = field(default_factory=EvaluationTable)
    figures: list[tuple[Path, str]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    terms: dict[str, list[float | None]] = field(default_factory=dict)
    disentanglement: dict[str, Any] = field(default_factory=dict)
    reconstruction: ReconstructionTable | None = None
    subsets: SubsetTable | None = None
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_run(run_dir: str | Path) -> RunContent:
    """Read whatever a run folder holds.

    Args:
        run_dir: see :mod:`monai_mmseg.runs.run_folder`.

    Returns:
        The content; parts that are broken are left out and named in ``problems``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder holds no part of a run.
    """
    root = Path(run_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"run_dir must be a folder, but {root} is not there.")
    parts = (RUN, METRICS, TERMS, FIGURES, DISENTANGLEMENT, RECONSTRUCTION, SUBSETS)
    if not any((root / part).exists() for part in parts):
        raise ValueError(f"run_dir must hold at least one of {list(parts)}, got none of them in {root}.")
    content = RunContent(root)
    content.about = _read_json(root / RUN, content.problems)
    content.disentanglement = _read_json(root / DISENTANGLEMENT, content.problems)
    content.reconstruction = _read_table(ReconstructionTable.from_json, root / RECONSTRUCTION, content.problems)
    content.subsets = _read_table(SubsetTable.from_json, root / SUBSETS, content.problems)
    for path in sorted((root / METRICS).glob("*.json")):
        try:
            content.table = content.table.concatenate(EvaluationTable.from_json(path))
        except (ValueError, KeyError, TypeError, OSError) as error:
            content.problems.append(f"{METRICS}/{path.name} is left out: {error}")
    if (root / TERMS).is_file():
        try:
            content.epochs, content.terms = read_terms(root / TERMS)
        except (ValueError, OSError) as error:
            content.problems.append(f"{TERMS} is left out: {error}")
    if (root / WARNINGS).is_file():
        lines = (root / WARNINGS).read_text(encoding="utf-8", errors="replace").splitlines()
        content.warnings = [line for line in lines if line.strip()]
    _read_figures(root / FIGURES, content)
    return content


def _read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} is left out: {error}")
        return {}
    if not isinstance(data, dict):
        problems.append(f"{path.name} is left out: it must hold an object, got {type(data).__name__}")
        return {}
    return data


def _read_table(read: Callable[[Path], Table], path: Path, problems: list[str]) -> Table | None:
    """A table with rows, if there is one."""
    if not path.is_file():
        return None
    try:
        table = read(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(f"{path.name} is left out: {error}")
        return None
    return table if len(table) else None


def _read_figures(folder: Path, content: RunContent) -> None:
    captions = _read_json(folder / CAPTIONS, content.problems)
    there = {path.name: path for path in sorted(folder.glob("*.png"))}
    for name in captions:
        if name not in there:
            content.problems.append(f"{FIGURES}/{name} has a caption but is not there.")
    ordered = [name for name in captions if name in there] + [name for name in there if name not in captions]
    for name in ordered:
        if there[name].read_bytes()[:8] != b"\x89PNG\r\n\x1a\n":
            content.problems.append(f"{FIGURES}/{name} is left out: it is no PNG file.")
        else:
            content.figures.append((there[name], str(captions.get(name, ""))))


def methods_table(table: EvaluationTable, modality: str) -> dict[str, Any]:
    """One modality's comparison of methods, with the best value of each column marked only where it is the best.

    A mark needs two methods scored on the same subjects and a difference that the printed digits show.

    Args:
        table: several methods.
        modality: which images.

    Returns:
        ``head``: column names, the first ``dice_columns`` of them Dice; ``rows``: method, subjects, cells (``mean``,
        ``sd``, ``best``) and counts; ``comparable``: whether all methods were scored on the same subjects.
    """
    part = table.select(modality=modality)
    lines: dict[str, dict[str, SummaryRow]] = {}
    for line in part.summary():
        lines.setdefault(line.method, {})[line.name] = line
    names = list(part.labels.values())
    columns = [("dice", name, name) for name in names] + [("dice", FOREGROUND, "mean")]
    columns += [(key, FOREGROUND, MEASURES[key][0]) for key in ("hausdorff95", "surface_distance")]
    comparable = len({frozenset(part.subjects(method)) for method in lines}) == 1
    cells: dict[str, list[dict[str, Any]]] = {method: [] for method in lines}
    for key, name, _ in columns:
        _, _, higher, digits = MEASURES[key]
        shown: dict[str, MeanSd | None] = {
            method: getattr(found[name], key) if name in found else None for method, found in lines.items()
        }
        rounded = {method: round(value.mean, digits) for method, value in shown.items() if value is not None}
        best = (max if higher else min)(rounded.values())
        winners = [method for method, value in rounded.items() if value == best]
        for method, value in shown.items():
            is_best = comparable and len(rounded) > 1 and winners == [method]
            mean, _, sd = ("–", "", "") if value is None else value.text(digits).partition(" ± ")
            cells[method].append({"mean": mean, "sd": sd, "best": is_best})
    rows = [
        {
            "method": method,
            "subjects": found[FOREGROUND].subjects,
            "cells": cells[method],
            "missed": f"{found[FOREGROUND].missed} of {found[FOREGROUND].present}",
            "spurious": found[FOREGROUND].spurious,
            "empty": found[FOREGROUND].empty,
        }
        for method, found in lines.items()
    ]
    return {
        "modality": modality,
        "head": [title for *_, title in columns],
        "dice_columns": len(names) + 1,
        "rows": rows,
        "comparable": comparable,
    }


def headline(content: RunContent) -> dict[str, Any] | None:
    """The numbers a reader wants first: the run's method on the run's modality, and its difference to the best other.

    Args:
        content: a run with an evaluation.

    Returns:
        ``method``, ``modality``, ``tiles`` (label, value, note) and ``comparison`` (a sentence or ``None``);
        ``None`` without an evaluation.
    """
    table = content.table
    if not len(table):
        return None
    wanted, methods = content.about.get("modality"), list(table.methods)
    modality = wanted if wanted in table.modalities else table.modalities[0]
    part = table.select(modality=modality)
    named = content.about.get("method")
    method = named if named in part.methods else next(iter(part.methods))
    if named and named != method:
        content.problems.append(f"{RUN} names the method {named!r}, which no evaluation of {modality} has: {methods}.")
    line = next(row for row in part.summary() if row.method == method and row.label is None)
    tiles = [
        {
            "label": f"Dice, mean of {len(part.labels)} classes" if len(part.labels) > 1 else "Dice",
            "value": f"{line.dice.mean:.3f}",
            "note": f"± {line.dice.sd:.3f} over {line.subjects} subjects" if line.subjects > 1 else "1 subject",
        },
        {"label": "HD95", "value": f"{line.hausdorff95.mean:.1f} mm", "note": _sd(line.hausdorff95, 1)},
        {
            "label": "Average surface distance",
            "value": f"{line.surface_distance.mean:.2f} mm",
            "note": _sd(line.surface_distance, 2),
        },
        {
            "label": "Organs missed",
            "value": f"{line.missed} of {line.present}",
            "note": f"miss rate {100 * line.miss_rate:.0f} %",
        },
    ]
    return {"method": method, "modality": modality, "tiles": tiles, "comparison": _comparison(part, method)}


def _sd(value: MeanSd, digits: int) -> str:
    return f"± {value.sd:.{digits}f}" if value.sd == value.sd else ""


def _comparison(table: EvaluationTable, method: str) -> str | None:
    """Difference to the best other method on the subjects that both have."""
    own = subject_means(list(table.select(method=method)))
    others = {name: subject_means(list(table.select(method=name))) for name in table.methods if name != method}
    others = {name: found for name, found in others.items() if found.keys() & own.keys()}
    if not others:
        return None
    rival = max(others, key=lambda name: mean_sd([others[name][s] for s in others[name] if s in own]).mean)
    common = [subject for subject in own if subject in others[rival]]
    differences = [own[subject] - others[rival][subject] for subject in common]
    mean = mean_sd(differences).mean
    better = sum(difference > 0 for difference in differences)
    text = f"{mean:+.3f} Dice against {rival}, the best other method: better in {better} of {len(common)} subjects"
    if len(common) > 1:
        text += f" (paired permutation test, p = {_p_value(own, others[rival], common)})"
    return text + "."


def _p_value(own: Mapping[str, float], other: Mapping[str, float], subjects: list[str]) -> str:
    test = paired_permutation_test([own[name] for name in subjects], [other[name] for name in subjects])
    return f"{test.p_value:.3f}" if test.p_value >= 0.001 else f"{test.p_value:.1g}"


def worst_rows(table: EvaluationTable, method: str, modality: str) -> list[ScoreRow]:
    """The lowest Dice values of a method, worst first; ties by the larger distance.

    Args:
        table: any table.
        method: whose.
        modality: of which images.

    Returns:
        A few rows.
    """
    rows = list(table.select(method=method, modality=modality))
    return sorted(rows, key=lambda row: (row.dice, -row.hausdorff95))[:WORST_ROWS]


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as lines, the way bundle overrides are written.

    Examples:
        >>> flat_settings({"lr": 0.001, "network": {"features": [8, 16]}})
        [('lr', '0.001'), ('network#features', '[8, 16]')]
    """
    out: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            out += flat_settings(value, f"{name}#")
        else:
            out.append((name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)))
    return out
