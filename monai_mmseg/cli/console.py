# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the command line writes: tables with ``rich`` where it is installed, plain text where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


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
