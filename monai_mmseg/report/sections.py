# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Sections of the page that only some runs have: reconstructed images, missing modalities, silhouettes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_mmseg.evaluation.layout import subset_names
from monai_mmseg.evaluation.score import MEASURES
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.report.content import RunContent
from monai_mmseg.visualize import SubsetBlock

WANTED = {
    "code_by_modality": ("codes z, by modality", "near 1"),
    "anatomy_by_modality": ("anatomies s, by modality", "0 or less"),
    "anatomy_by_subject": ("anatomies s, by subject", "near 1"),
}
LEAST = {"dice": 0.1, "ssim": 0.05, "original_ssim": 0.05}  # that a scale of colours spans, else 1 dB or mm


def table_section(title: str, table: ScoreTable) -> dict[str, Any]:
    """What the template prints of a table.

    Args:
        title: of the section.
        table: not empty.

    Returns:
        ``title``, ``tables`` (``title``, ``head``, ``rows`` of texts, without the method where there is one) and
        ``notes``.
    """
    first = 0 if len(table.methods) > 1 else 1
    tables = [
        {
            "title": sheet.title,
            "head": [*sheet.texts, *sheet.numbers][first:],
            "rows": [row[first:] for row in sheet.rows],
        }
        for sheet in table.sheets()
    ]
    return {"title": title, "tables": tables, "notes": table.notes()}


def subset_blocks(table: ScoreTable, measures: Sequence[str] | None = None) -> list[SubsetBlock]:
    """Blocks of a :func:`~monai_mmseg.visualize.subset_figure`: a block a measure, in it a column a method and class.

    Args:
        table: scores of subsets.
        measures: which ones; ``None``: Dice and HD95, or PSNR and SSIM.

    Returns:
        Blocks; Dice also of each class.

    Raises:
        ValueError: a measure that the table does not have.
    """
    known = [name for name in ("dice", "hausdorff95", "psnr", "ssim") if name in table.measures]
    shown = known if measures is None else list(measures)
    if unknown := sorted(set(shown) - set(table.measures)):
        raise ValueError(f"measures must be of the table's {table.measures}, got {unknown}.")
    several = len(table.methods) > 1
    whole, parts = table.means("subset"), table.means("subset", "class")
    blocks = []
    for name in shown:
        columns: dict[str, dict[tuple[str, ...], float]] = {}
        for line in [*whole, *(parts if name == "dice" else [])]:
            if name in line.measures:
                part = line.case.get("class", "mean" if name in ("dice", "hausdorff95") else "")
                column = ", ".join(text for text in (line.method if several else "", part) if text) or line.method
                columns.setdefault(column, {})[subset_names(line.case["subset"])] = line.measures[name].mean
        about = MEASURES[name]
        blocks.append(SubsetBlock(about.title, columns, about.higher, about.digits, LEAST.get(name, 1.0)))
    return blocks


def silhouette_rows(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and wanted value of each silhouette.

    Args:
        found: of :class:`~monai_mmseg.metrics.Silhouettes`, as a mapping.

    Returns:
        Texts.

    Examples:
        >>> silhouette_rows({"code_by_modality": 0.9, "anatomy_by_modality": -0.01, "anatomy_by_subject": None})[0]
        ('codes z, by modality', '0.90', 'near 1')
    """
    return [
        (name, "–" if found[key] is None else f"{float(found[key]):.2f}", wanted)
        for key, (name, wanted) in WANTED.items()
    ]


def disentanglement_values(content: RunContent) -> dict[str, Any] | None:
    """What the template prints of the disentanglement, in texts.

    Args:
        content: of a run; a broken part is added to its problems.

    Returns:
        Values by name, or ``None``.
    """
    found = content.disentanglement
    if not found or ("silhouettes" in found and "modality_classification" not in found):
        return None
    try:
        classified = found["modality_classification"]
        pairs = zip(classified["per_dimension"], found["posterior_variance"], strict=True)
        return {
            "correlation": f"{float(found['distance_correlation']):.2f}",
            "accuracy": f"{100 * float(classified['accuracy']):.0f} %",
            "chance": f"{100 * float(classified['chance']):.0f} %",
            "tested": len(classified["test_subjects"]),
            "rows": [(f"z{at}", f"{100 * float(a):.0f} %", f"{float(v):.2f}") for at, (a, v) in enumerate(pairs, 1)],
        }
    except (KeyError, TypeError, ValueError) as error:
        content.problems.append(f"disentanglement.json is left out: {type(error).__name__} {error}")
        return None


def silhouette_values(content: RunContent) -> dict[str, Any] | None:
    """What the template prints of the silhouettes, in texts.

    Args:
        content: of a run; a broken part is added to its problems.

    Returns:
        Values by name, or ``None``.
    """
    found = content.disentanglement.get("silhouettes")
    if not found:
        return None
    try:
        about = {key: found[key] for key in ("rows", "subjects", "metric")}
        return {**about, "values": silhouette_rows(found)}
    except (KeyError, TypeError, ValueError) as error:
        content.problems.append(f"silhouettes are left out: {type(error).__name__} {error}")
        return None


def score_sections(content: RunContent) -> list[tuple[str, ScoreTable]]:
    """Tables with a section of their own.

    Args:
        content: of a run.

    Returns:
        Title and table of each.
    """
    found = {"Reconstructed images": content.reconstruction, "Missing modalities": content.subsets}
    return [(title, table) for title, table in found.items() if table is not None]
