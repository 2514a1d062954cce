# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Join datalists: unpaired methods train on images of several data sets at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.outputs import write_new_json


def merge_datalists(paths: Sequence[str | Path], out: str | Path, *, overwrite: bool = False) -> Path:
    """Write one datalist with the items of several; images and labels stay where they are.

    Args:
        paths: JSON files, two or more; modalities and sections are joined in their order.
        out: JSON file to write; paths in it are relative to its folder.
        overwrite: whether a file that is there already may be replaced.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if a datalist is not there.
        ValueError: if their labels differ, or two of them have a subject of one name.
        OSError: if `out` is there already, or cannot be written.
    """
    if len(paths) < 2:
        raise ValueError(f"lists must name two datalists or more, got {list(map(str, paths))}.")
    parts = [read_datalist(path) for path in paths]
    root = Path(out).resolve().parent
    owner: dict[str, Path] = {}
    sections: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        if part.labels != parts[0].labels:
            raise ValueError(
                f"labels must be the same in all lists, got {part.labels} in {part.path} and {parts[0].labels} in "
                f"{parts[0].path}."
            )
        for section, items in part.sections.items():
            for item in items:
                if owner.setdefault(item["subject"], part.path) != part.path:
                    raise ValueError(
                        f"subject {item['subject']!r} is in {owner[item['subject']]} and in {part.path}; if they are "
                        "two persons, give them two names."
                    )
                files: dict[str, str] = {key: item[key] for key in ("image", "label") if key in item}
                relative: dict[str, str] = {
                    key: Path(os.path.relpath(path, root)).as_posix() for key, path in files.items()
                }
                sections.setdefault(section, []).append({**item, **relative})
    content = {
        "name": "_".join(dict.fromkeys(part.name for part in parts)),
        "modalities": list(dict.fromkeys(name for part in parts for name in part.modalities)),
        "labels": {str(value): name for value, name in parts[0].labels.items()},
        **sections,
    }
    return write_new_json(out, content, overwrite=overwrite)
