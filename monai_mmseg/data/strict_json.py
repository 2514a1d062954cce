# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""JSON as people write it, read without guessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: str | Path) -> Any:
    """Content of a JSON file, strictly: a key that is given twice would hide what came first.

    Args:
        path: the file, in UTF-8.

    Returns:
        Objects, lists, texts and numbers.

    Raises:
        ValueError: if it is no JSON, a key is given twice, or a number is none (NaN).
    """

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
        return content

    def constant(name: str) -> None:
        raise ValueError(f"JSON has no {name}")

    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
        raw = json.loads(text, object_pairs_hook=distinct, parse_constant=constant)
        json.dumps(raw, ensure_ascii=False).encode()  # half of a character could be neither printed nor written
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a JSON file in UTF-8 ({error}).") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{path}: not a JSON file (a text in it is broken: {error.reason}).") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not a JSON file (its objects are nested too deeply).") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error}).") from error
    return raw
