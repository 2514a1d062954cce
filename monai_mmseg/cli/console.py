# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What commands write: tables with ``rich`` where it is installed, plain text where it is not, and what they leave."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai_mmseg.evaluation import ScoreTable

VOLUMES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table.

    Args:
        title: its heading.
        columns: names.
        rows: cells, made text by ``str``.

    Examples:
        >>> print_table("Volumes", ["subject", "ml"], [["s01", 81.5]])
        Volumes
        subject  ml
        -------  ----
        s01      81.5
    """
    lines = [list(columns), *([str(cell) for cell in row] for row in rows)]
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table
        except ImportError:
            pass
        else:
            table = Table(*lines[0], title=title, title_justify="left")
            for line in lines[1:]:
                table.add_row(*line)
            Console().print(table)
            return
    # a pipe or a log file: no frames and no line breaks in cells
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    print(title)
    for line in [lines[0], ["-" * width for width in widths], *lines[1:]]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_scores(table: ScoreTable | str | os.PathLike[str]) -> None:
    """Write the scores of an evaluation: a line a class and modality and their mean, the numbers of the report.

    When to use: in the ``run`` of an ``evaluate.json``, after the table is saved.

    Args:
        table: of label volumes, or of images; or its JSON file.

    Examples:
        >>> from monai_mmseg.evaluation import Score, ScoreTable
        >>> case = {"modality": "lge", "class": "LV"}
        >>> print_scores(ScoreTable([Score("ours", s, case, {"dice": d}) for s, d in (("s01", 0.7), ("s02", 0.9))]))
        ours: mean ± standard deviation over subjects
        modality  class  Dice           subjects  missed  spurious
        --------  -----  -------------  --------  ------  --------
        lge       LV     0.800 ± 0.141  2         0 of 2  0
        lge       mean   0.800 ± 0.141  2         0 of 2  0
    """
    from monai_mmseg.evaluation import ScoreTable

    scores = table if isinstance(table, ScoreTable) else ScoreTable.from_json(os.fspath(table))
    for method in scores.methods:
        _print_method(method, scores.select(method=method))


def _print_method(method: str, table: ScoreTable) -> None:
    from monai_mmseg.evaluation.score import MEASURES

    title = f"{method}: mean ± standard deviation over subjects"
    if {"modality", "class"} <= set(table.keys):
        means = {line.case["modality"]: line for line in table.means("modality")}
        lines = [(line.case["class"], line) for line in table.means("modality", "class")]
        lines = [
            one
            for modality, mean in means.items()
            for one in [*(pair for pair in lines if pair[1].case["modality"] == modality), ("mean", mean)]
        ]
        names = [
            name for name, about in MEASURES.items() if about.printed and any(name in one.measures for _, one in lines)
        ]
        columns = ["modality", "class", *(MEASURES[name].title for name in names), "subjects", "missed", "spurious"]
        rows = [
            [
                line.case["modality"],
                name,
                *(line.text(measure) for measure in names),
                line.subjects,
                f"{line.missed} of {line.present}",
                line.spurious,
            ]
            for name, line in lines
        ]
        print_table(title, columns, rows)
    else:
        for sheet in table.sheets()[:1]:
            print_table(title, [*sheet.texts, *sheet.numbers][1:], [row[1:] for row in sheet.rows])


def print_written(**paths: str | os.PathLike[str] | None) -> None:
    """Write what a command left behind, relative to the current folder where that is shorter.

    When to use: as last entry of a config's ``run``. What is not there is left out, and what has two names is written
    once. Of a folder, the volumes are counted that this process wrote. Only process 0 writes.

    Args:
        **paths: files and folders by what they are.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "model.pt").write_text("")
        ...     print_written(model=f"{folder}/model.pt", report=f"{folder}/report.html")  # doctest: +ELLIPSIS
        written:
          model  .../model.pt
    """
    from monai_mmseg.distributed import rank

    if rank() != 0:
        return
    found: dict[str, str] = {}
    for name, path in ((name, Path(given)) for name, given in paths.items() if given is not None):
        text = short_path(path) if path.is_file() else ""
        if path.is_dir() and (count := sum(_is_new_volume(file) for file in path.rglob("*"))):
            text = f"{short_path(path)} ({count} volume{'' if count == 1 else 's'})"
        if text and text not in found.values():
            found[name.replace("_", " ")] = text
    if found:
        width = max(map(len, found))
        print("\n".join(["written:", *(f"  {name.ljust(width)}  {text}" for name, text in found.items())]), flush=True)


def _is_new_volume(file: Path) -> bool:
    """Whether a file is a volume that was written since the process started; clocks of file systems are coarse."""
    record = logging.makeLogRecord({})  # the standard library's clock of the process
    since = record.created - record.relativeCreated / 1000 - 1
    return file.name.endswith(VOLUMES) and file.is_file() and file.stat().st_mtime >= since


def short_path(path: str | os.PathLike[str]) -> str:
    """A path as somebody in the current folder would type it.

    Args:
        path: of a file or folder.

    Returns:
        The relative path if it is shorter than the absolute one.

    Examples:
        >>> short_path(Path.cwd() / "eval" / "report.html").replace(os.sep, "/")
        'eval/report.html'
    """
    absolute = os.path.abspath(path)
    try:
        relative = os.path.relpath(absolute)
    except ValueError:  # another drive
        return absolute
    return relative if len(relative) < len(absolute) else absolute
