# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Sections of the page that only some runs have: redrawn images, missing modalities, silhouettes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_mmseg.evaluation.reconstruction import IMAGE_MEASURES
from monai_mmseg.evaluation.reconstruction_table import ReconstructionLine, ReconstructionTable
from monai_mmseg.evaluation.subset_markdown import HIDDEN, SHOWN
from monai_mmseg.evaluation.subset_rows import measure_of
from monai_mmseg.evaluation.subset_table import SubsetTable

__all__ = ["reconstruction_section", "silhouette_rows", "subset_section"]

WANTED = {
    "code_by_modality": ("codes z, by modality", "near 1"),
    "anatomy_by_modality": ("anatomies s, by modality", "0 or less"),
    "anatomy_by_subject": ("anatomies s, by subject", "near 1"),
}


def reconstruction_section(table: ReconstructionTable) -> dict[str, Any]:
    """What the template prints of redrawn images.

    Args:
        table: not empty.

    Returns:
        ``title``, ``tables`` (``title``, ``head``, ``rows`` of texts) and ``notes``.
    """
    summary = table.summary()
    shown = [m for m in IMAGE_MEASURES if any(line.measures[m] is not None for line in summary)]
    names = [f"{IMAGE_MEASURES[m][0]} [{IMAGE_MEASURES[m][1]}]".removesuffix(" []") for m in shown]

    def cells(line: ReconstructionLine) -> list[str]:
        found = [line.measures[name] for name in shown]
        texts = ["–" if v is None else v.text(IMAGE_MEASURES[m][2]) for m, v in zip(shown, found, strict=True)]
        return [*texts, str(line.subjects), str(line.left_out)]

    by = _by_method(table.methods)
    tail = [*names, "subjects", "left out"]
    tables = []
    if found := table.by_target():
        rows = [[f"{line.target}{by[line.method]}", *cells(line)] for line in found]
        tables.append(_table("Drawn with the anatomy of each other modality", ["drawn", *tail], rows))
    rows = [[f"{line.source} → {line.target}{by[line.method]}", *cells(line)] for line in summary]
    tables.append(_table("Each pair", ["from → drawn", *tail], rows))
    return {"title": "Redrawn images", "tables": tables, "notes": table.notes()}


def subset_section(table: SubsetTable) -> dict[str, Any]:
    """What the template prints of missing modalities.

    Args:
        table: not empty.

    Returns:
        As :func:`reconstruction_section`.
    """
    names, main = [name for name in table.measures if "/" not in name], table.measures[0]
    heads = [f"{measure_of(name).heading} [{measure_of(name).unit}]".removesuffix(" []") for name in names]
    tests = {(test.method, test.subset): test for test in table.tests(main)}
    by = _by_method(table.methods)
    rows, short = [], []
    for line in table.summary():
        dots = "".join(SHOWN if name in line.subset else HIDDEN for name in table.modalities)
        values = [line.measures.get(name) for name in names]
        texts = ["–" if v is None else v.text(measure_of(n).digits) for n, v in zip(names, values, strict=True)]
        test = tests.get((line.method, line.subset))
        differs = [f"{test.difference:+.{measure_of(main).digits}f}", f"{test.p_holm:.4f}"] if test else ["", ""]
        cells = [*texts, str(line.subjects), str(line.left_out), *differs]
        rows.append([f"{dots} {' + '.join(line.subset)}{by[line.method]}", *cells])
        if len(line.subset) >= len(table.modalities) - 1:
            gone = [name for name in table.modalities if name not in line.subset]
            short.append([f"{', '.join(gone) or 'none'}{by[line.method]}", *cells])
    tail = [*heads, "subjects", "left out", f"{measure_of(main).heading} minus that of all", "p (Holm)"]
    tables = [_table("One modality missing", ["missing", *tail], short), _table("All subsets", ["there", *tail], rows)]
    return {"title": "Missing modalities", "tables": tables, "notes": table.notes()}


def _by_method(methods: Sequence[str]) -> dict[str, str]:
    """What says in a row whose it is: nothing where all are of one method."""
    return {method: f" ({method})" if len(methods) > 1 else "" for method in methods}


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


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {"title": title, "head": list(head), "rows": [list(row) for row in rows]}
