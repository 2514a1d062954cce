# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Datalists and the files that they name are not replaced by what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from monai_mmseg.data.datalist import SECTIONS, read_raw
from monai_mmseg.outputs import spare_originals


def named_files(path: str | Path) -> list[Path]:
    """Images and labels that a datalist names.

    Args:
        path: the datalist.

    Returns:
        Paths; none if it is no datalist.

    Examples:
        >>> named_files("no/such/file.json")
        []
    """
    try:
        raw, root = read_raw(path)[0], Path(path).resolve().parent
    except (OSError, ValueError):
        return []
    items = [item for name in SECTIONS for item in raw.get(name) or () if isinstance(item, Mapping)]
    return [root / str(item[key]) for item in items for key in ("image", "label") if key in item]


def spare_listed(written: Iterable[Path], *lists: str | Path) -> None:
    """Refuse to replace datalists, or files that they name, even where it was said that files may be replaced.

    Args:
        written: files that would be.
        *lists: datalists.

    Raises:
        ValueError: if one of them would be replaced.

    Examples:
        >>> spare_listed([Path("no/such/file")], "no/such/list.json")
    """
    spare_originals(written, [Path(path) for path in lists] + [file for path in lists for file in named_files(path)])
