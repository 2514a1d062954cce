# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the command line writes: tables with ``rich`` where it is installed, plain text where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from monai.utils import optional_import

__all__ = ["print_lines", "print_table"]


def print_lines(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Write lines of text.

    Args:
        lines: text without line ends.
        stream: where to; default is standard output.

    Examples:
        >>> print_lines(["one", "two"])
        one
        two
    """
    out = sys.stdout if stream is None else stream
    for line in lines:
        out.write(f"{line}\n")


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
    cells = [[str(cell) for cell in row] for row in rows]
    rich_table, has_table = optional_import("rich.table", name="Table")
    rich_console, has_console = optional_import("rich.console", name="Console")
    if has_table and has_console and sys.stdout.isatty():
        table = rich_table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column)
        for row in cells:
            table.add_row(*row)
        rich_console().print(table)
        return
    # a pipe or a log file: no frames and no line breaks in cells
    widths = [max(len(row[place]) for row in [list(columns), *cells]) for place in range(len(columns))]
    print_lines([title])
    for row in [list(columns), ["-" * width for width in widths], *cells]:
        print_lines(["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()])
