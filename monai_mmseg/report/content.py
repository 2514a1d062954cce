# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a report says: read from a run folder, with every missing or broken part named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_mmseg.evaluation.score import MEASURES, MeanSd, Score, mean_sd
from monai_mmseg.evaluation.table import ScoreTable
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

WORST_SCORES = 6


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
        reconstruction: scores of reconstructed images, or ``None``.
        subsets: scores with each subset of the modalities, or ``None``.
        warnings: lines of ``warnings.txt``.
        problems: parts that are there and cannot be used, one sentence each.
    """

    run_dir: Path
    about: dict[str, Any] = field(default_factory=dict)
    table: ScoreTable = field(default_factory=ScoreTable)
    figures: list[tuple[Path, str]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    terms: dict[str, list[float | None]] = field(default_factory=dict)
    disentanglement: dict[str, Any] = field(default_factory=dict)
    reconstruction: ScoreTable | None = None
    subsets: ScoreTable | None = None
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
        raise FileNotFoundError(
            f"run_dir must be a folder, but {root} is {'a file' if root.exists() else 'not there'}."
        )
    parts = (RUN, METRICS, TERMS, FIGURES, DISENTANGLEMENT, RECONSTRUCTION, SUBSETS)
    if not any((root / part).exists() for part in parts):
        raise ValueError(f"run_dir must hold at least one of {list(parts)}, got none of them in {root}.")
    content = RunContent(root)
    content.about = _read_json(root / RUN, content.problems)
    content.disentanglement = _read_json(root / DISENTANGLEMENT, content.problems)
    content.reconstruction = _read_table(root, RECONSTRUCTION, content.problems)
    content.subsets = _read_table(root, SUBSETS, content.problems)
    for path in sorted((root / METRICS).glob("*.json")):
        name = f"{METRICS}/{path.name}"
        found = _read_table(root, name, content.problems)
        try:
            if found and not found.cases("modality"):
                raise ValueError("its scores are of no modality")
            content.table = content.table.join(*([found] if found else []))
        except ValueError as error:
            content.problems.append(f"{name} is left out: {error}")
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


def _read_table(root: Path, name: str, problems: list[str]) -> ScoreTable | None:
    """A table with scores, if there is one."""
    if not (root / name).is_file():
        return None
    try:
        table = ScoreTable.from_json(root / name)
    except (OSError, ValueError) as error:
        problems.append(f"{name} is left out: {error}")
        return None
    return table if len(table) else None


def _read_figures(folder: Path, content: RunContent) -> None:
    captions = _read_json(folder / CAPTIONS, content.problems)
    present = {path.name: path for path in sorted(folder.glob("*.png"))}
    for name in captions:
        if name not in present:
            content.problems.append(f"{FIGURES}/{name} has a caption but is not there.")
    ordered = [name for name in captions if name in present] + [name for name in present if name not in captions]
    for name in ordered:
        if present[name].read_bytes()[:8] != b"\x89PNG\r\n\x1a\n":
            content.problems.append(f"{FIGURES}/{name} is left out: it is no PNG file.")
        else:
            content.figures.append((present[name], str(captions.get(name, ""))))


def methods_table(table: ScoreTable, modality: str) -> dict[str, Any]:
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
    lines = {line.method: line for line in part.means("modality")}
    of_class = {(line.method, line.case["class"]): line for line in part.means("class")}
    columns = [("dice", name, name) for name in part.cases("class")] + [("dice", "", "mean")]
    columns += [("paper_dice", "", "as in the paper")] if "paper_dice" in part.measures else []
    dice_columns = len(columns)
    columns += [(key, "", MEASURES[key].heading) for key in ("hausdorff95", "surface_distance")]
    comparable = len({frozenset(part.subjects(method)) for method in lines}) == 1
    cells: dict[str, list[dict[str, Any]]] = {method: [] for method in lines}
    for key, name, _ in columns:
        about = MEASURES[key]
        shown: dict[str, MeanSd] = {}
        for method, line in lines.items():
            found = of_class.get((method, name)) if name else line
            if found is not None and key in found.measures:
                shown[method] = found.measures[key]
        rounded = {method: round(value.mean, about.digits) for method, value in shown.items()}
        best = (max if about.higher else min)(rounded.values())
        winners = [method for method, value in rounded.items() if value == best]
        for method, into in cells.items():
            is_best = comparable and len(rounded) > 1 and winners == [method]
            text = shown[method].text(about.digits) if method in shown else "–"
            mean, _, sd = text.partition(" ± ")
            into.append({"mean": mean, "sd": sd, "best": is_best})
    rows = [
        {
            "method": method,
            "subjects": line.subjects,
            "cells": cells[method],
            "missed": f"{line.missed} of {line.present}",
            "spurious": line.spurious,
            "empty": line.empty,
        }
        for method, line in lines.items()
    ]
    head = [title for *_, title in columns]
    return {"modality": modality, "head": head, "dice_columns": dice_columns, "rows": rows, "comparable": comparable}


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
    wanted, methods, known = content.about.get("modality"), list(table.methods), table.cases("modality")
    modality = wanted if wanted in known else known[0]
    part = table.select(modality=modality)
    named = content.about.get("method")
    method = named if named in part.methods else next(iter(part.methods))
    if named and named != method:
        content.problems.append(f"{RUN} names the method {named!r}, which no evaluation of {modality} has: {methods}.")
    (line,) = part.select(method=method).means("modality")
    classes, dice = len(part.cases("class")), line.measures["dice"]
    tiles = [
        {
            "label": f"Dice, mean of {classes} classes" if classes > 1 else "Dice",
            "value": f"{dice.mean:.3f}",
            "note": f"± {dice.sd:.3f} over {line.subjects} subjects" if line.subjects > 1 else "1 subject",
        }
    ]
    for name, label in (("hausdorff95", "HD95"), ("surface_distance", "Average surface distance")):
        mean, plus_minus, sd = line.text(name).partition("± ")
        tiles.append({"label": label, "value": f"{mean.strip()} mm", "note": plus_minus + sd})
    share = f"miss rate {100 * line.miss_rate:.0f} %"
    tiles.append({"label": "Organs missed", "value": f"{line.missed} of {line.present}", "note": share})
    return {"method": method, "modality": modality, "tiles": tiles, "comparison": _comparison(part, method)}


def _comparison(table: ScoreTable, method: str) -> str | None:
    """Difference to the best other method on the subjects that both have."""
    each = {name: table.per_subject("dice", method=name) for name in table.methods}
    own = each.pop(method)
    others = {name: found for name, found in each.items() if found.keys() & own.keys()}
    if not others:
        return None
    rival = max(others, key=lambda name: mean_sd([others[name][s] for s in others[name] if s in own]).mean)
    differences = [own[subject] - others[rival][subject] for subject in own if subject in others[rival]]
    better, count = sum(difference > 0 for difference in differences), len(differences)
    text = (
        f"{mean_sd(differences).mean:+.3f} Dice against {rival}, the best other method: better in {better} of {count}"
    )
    text += " subjects"
    for test in table.select(lambda score: score.method in (method, rival)).tests("dice", "method", rival):
        p = f"{test.p:.3f}" if test.p >= 0.001 else f"{test.p:.1g}"
        text += f" (paired permutation test, p = {p})"
    return text + "."


def worst_scores(table: ScoreTable, method: str, modality: str) -> list[Score]:
    """The lowest Dice values of a method, worst first; ties by the larger distance.

    Args:
        table: any table.
        method: whose.
        modality: of which images.

    Returns:
        A few scores.
    """
    found = table.select(lambda score: "dice" in score.values, method=method, modality=modality)
    return sorted(found, key=lambda score: (score.values["dice"], -score.values["hausdorff95"]))[:WORST_SCORES]


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
