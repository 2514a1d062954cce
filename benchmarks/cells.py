# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Runs some at a time, JSON files, and tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from monai_mmseg.files import write_text


def in_lanes(call: Callable[..., Any], jobs: Iterable[Sequence[Any]], lanes: int) -> None:
    """Call with the arguments of each job, some at a time; the first error is raised after the others have ended."""
    with ThreadPoolExecutor(lanes) as pool:
        for job in [pool.submit(call, *arguments) for arguments in jobs]:
            job.result()


def read_json(path: Path) -> Any:
    """Content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON, and the folder that it goes to."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def overrides_of(items: Iterable[str]) -> dict[str, Any]:
    """Overrides of a bundle from words such as ``max_epochs=5``; the value is JSON."""
    return {key: json.loads(value) for key, value in (item.split("=", 1) for item in items)}


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: Sequence[int] = (0,)) -> list[str]:
    """Lines of a Markdown table; columns of numbers are aligned to the right, those of ``texts`` to the left."""
    lines = ["---" if column in texts else "---:" for column in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, lines, *rows)]
