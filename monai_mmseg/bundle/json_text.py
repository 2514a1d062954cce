# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How configs are written: JSON in which what fits on a line stands on one."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 120


def json_text(content: Any, *, width: int = WIDTH) -> str:
    r"""JSON text with lists and mappings on one line where they fit.

    When to use: for every config of a bundle that is written or checked.

    Args:
        content: mappings, lists, text, numbers, booleans and ``None``; the outermost mapping has a line an entry.
        width: longest line, in characters.

    Returns:
        The text, with a line end behind it. A text longer than ``width`` stays whole.

    Raises:
        ValueError: a number is not finite.

    Examples:
        >>> print(json_text({"size": [64, 64], "deep": {"a": {"b": "long"}}}, width=20), end="")
        {
          "size": [64, 64],
          "deep": {
            "a": {
              "b": "long"
            }
          }
        }
    """
    lines = _lines(content, 0, 0, width, outermost=True)
    return lines + "\n"


def _lines(value: Any, indent: int, used: int, width: int, outermost: bool = False) -> str:
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # one character is kept for the comma that may follow
    if not (isinstance(value, dict | list) and value) or (not outermost and used + len(flat) < width):
        return flat
    inner, (opened, closed) = indent + 2, "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, dict):
        entries = [(f"{json.dumps(key, ensure_ascii=False)}: ", one) for key, one in value.items()]
    else:
        entries = [("", one) for one in value]
    heads = [" " * inner + key for key, _ in entries]
    lines = [head + _lines(one, inner, len(head), width) for head, (_, one) in zip(heads, entries, strict=True)]
    return opened + "\n" + ",\n".join(lines) + "\n" + " " * indent + closed
