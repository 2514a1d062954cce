# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What tables share when they go to files: rows of Markdown, JSON with a stated format, three files of one name."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["markdown_row", "plain_number", "read_table_json", "save_beside", "write_text"]


class _Table(Protocol):
    def to_json(self, path: str | Path | None = None) -> str: ...

    def to_csv(self, path: str | Path | None = None) -> str: ...

    def to_markdown(self, path: str | Path | None = None) -> str: ...


def markdown_row(cells: Sequence[str]) -> str:
    r"""One line of a Markdown table.

    Examples:
        >>> markdown_row(["a|b", "1"])
        '| a\\|b | 1 |'
    """
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def plain_number(value: Any) -> Any:
    """The value for JSON and CSV: an infinite number as the text ``inf``."""
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def write_text(text: str, path: str | Path | None) -> str:
    """The text, written to a file where a path is given."""
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def read_table_json(source: str | Path, expected: str) -> dict[str, Any]:
    """Content of a table's JSON file.

    Args:
        source: path of the file.
        expected: its format.

    Returns:
        The content.

    Raises:
        ValueError: the file is not JSON of this format.
    """
    try:
        data = json.loads(Path(source).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"source must be JSON, got {source}: {error}.") from error
    if not isinstance(data, dict) or data.get("format") != expected:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"source must be a table with format {expected!r}, got {found!r} in {source}.")
    return data


def save_beside(table: _Table, folder: str | Path, stem: str) -> dict[str, Path]:
    """Write JSON, CSV and Markdown of a table beside each other.

    Args:
        table: what is written.
        folder: where; made if it is not there.
        stem: file name without ending.

    Returns:
        ``{"json": path, "csv": path, "md": path}``.
    """
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    paths = {ending: base / f"{stem}.{ending}" for ending in ("json", "csv", "md")}
    table.to_json(paths["json"])
    table.to_csv(paths["csv"])
    table.to_markdown(paths["md"])
    return paths
