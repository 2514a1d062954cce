# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A table of missing modalities as Markdown: the short one of a paper, then all subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai_mmseg.evaluation.subset_rows import measure_of
from monai_mmseg.evaluation.summary import MeanSd
from monai_mmseg.evaluation.table_files import markdown_row

if TYPE_CHECKING:
    from monai_mmseg.evaluation.subset_table import SubsetTable

SHOWN, HIDDEN = "●", "○"


def markdown_lines(table: SubsetTable) -> list[str]:
    """Lines of both tables.

    Args:
        table: of one or several methods.

    Returns:
        Lines without line ends.
    """
    return ["One modality missing:", "", *_short(table), "", "All subsets:", "", *_all(table)]


def _short(table: SubsetTable) -> list[str]:
    """A column for no missing modality and for each one."""
    lines = _head(["method", "measure"], [f"missing: {name}" for name in ("none", *table.modalities)])
    found = {(line.method, line.subset): line for line in table.short()}
    subsets = [table.modalities, *(tuple(m for m in table.modalities if m != name) for name in table.modalities)]
    for method in table.methods:
        for name in table.measures:
            cells = [found.get((method, subset)) for subset in subsets]
            texts = ["–" if line is None else _text(line.measures.get(name), name) for line in cells]
            lines.append(markdown_row([method, _heading(name), *texts]))
    return lines


def _all(table: SubsetTable) -> list[str]:
    """A line a subset; the first measure is tested."""
    names, main = [name for name in table.measures if "/" not in name], table.measures[0] if table.measures else None
    numbers = [*map(_heading, names), "subjects", "left out"]
    if main is not None:
        numbers += [f"{measure_of(main).heading} minus that of all", "p (Holm)"]
    lines = _head(["method", *table.modalities], numbers)
    tests = {(test.method, test.subset): test for test in table.tests(main)} if main is not None else {}
    for line in table.summary():
        cells = [line.method, *(SHOWN if name in line.subset else HIDDEN for name in table.modalities)]
        cells += [_text(line.measures.get(name), name) for name in names]
        cells += [str(line.subjects), str(line.left_out)]
        if main is not None:
            test = tests.get((line.method, line.subset))
            digits = measure_of(main).digits
            cells += [f"{test.difference:+.{digits}f}", f"{test.p_holm:.4f}"] if test else ["", ""]
        lines.append(markdown_row(cells))
    return lines


def _head(texts: list[str], numbers: list[str]) -> list[str]:
    return [markdown_row([*texts, *numbers]), markdown_row([*["---"] * len(texts), *["---:"] * len(numbers)])]


def _heading(name: str) -> str:
    about = measure_of(name)
    return f"{about.heading} [{about.unit}]" if about.unit else about.heading


def _text(value: MeanSd | None, name: str) -> str:
    return "–" if value is None else value.text(measure_of(name).digits)
