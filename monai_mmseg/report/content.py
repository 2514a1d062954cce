# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a report says: read from a run folder, with every missing or broken part named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.report.other_labels import label_notes
from monai_mmseg.report.ownership import EVALUATIONS, Ownership, find_ownership
from monai_mmseg.runs.identity import file_sha256
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
        owner: the run's model, and which parts are of another one.
        remarks: what else a reader of the tables has to know, one sentence each.
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
    owner: Ownership = field(default_factory=lambda: Ownership("", {}, False, {}))
    remarks: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end: warnings of earlier attempts are then no news."""
        return self.about.get("status") in ("completed", "stopped early")


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
    _read_tables(root, content)
    if (root / TERMS).is_file():
        try:
            content.epochs, content.terms = read_terms(root / TERMS)
        except (ValueError, OSError) as error:
            content.problems.append(f"{TERMS} is left out: {error}")
    if (root / WARNINGS).is_file():
        lines = (root / WARNINGS).read_text(encoding="utf-8", errors="replace").splitlines()
        content.warnings = list(dict.fromkeys(line for line in lines if line.strip()))
    if content.owner.foreign_last:
        left = [name for name in (FIGURES, DISENTANGLEMENT) if (root / name).exists()]
        if left:
            content.problems.append(f"{' and '.join(left)} were made by an evaluation of another model: left out.")
    else:
        content.disentanglement = _read_json(root / DISENTANGLEMENT, content.problems)
        _read_figures(root / FIGURES, content)
    return content


def _read_tables(root: Path, content: RunContent) -> None:
    """All tables of scores but those of another model, and those that were replaced."""
    paths = [*sorted((root / METRICS).glob("*.json")), root / RECONSTRUCTION, root / SUBSETS]
    names = [path.relative_to(root).as_posix() for path in paths if path.is_file()]
    entries = _read_json(root / EVALUATIONS, content.problems)
    hashes = {name: file_sha256(root / name) for name in names if name in entries}
    content.owner = find_ownership(content.about, entries, names, hashes)
    content.problems += content.owner.foreign.values()
    if names and not (root / EVALUATIONS).is_file():
        content.remarks.append(f"There is no {EVALUATIONS}: which model the tables scored is not known, all are shown.")
    for name in names:
        found = None if name in content.owner.foreign else _read_table(root, name, content.problems)
        if found is None:
            continue
        if name == RECONSTRUCTION:
            content.reconstruction = found
        elif name == SUBSETS:
            content.subsets = found
        else:
            try:
                if not found.cases("modality"):
                    raise ValueError("its scores are of no modality")
                content.table = content.table.join(found)
            except ValueError as error:
                content.problems.append(f"{name} is left out: {error}")
    content.remarks += label_notes(content.table)


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
