# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""All files of an image: a header and its voxels, the slices of a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from monai_mmseg.transforms.image_readers import HEAD_BYTES

_PAIR = {".hdr": ".img", ".img": ".hdr", ".HDR": ".IMG", ".IMG": ".HDR"}
_TEXT = (".mhd", ".mha", ".nhdr", ".nrrd")
_DATA = re.compile(rb"(?mi)^(?:ElementDataFile\s*=|data ?file:)[ \t]*(.+?)\s*$")


def other_of_pair(path: Path) -> Path:
    """Header of an ``.img``, voxels of a ``.hdr``; any other path as it is.

    Examples:
        >>> other_of_pair(Path("a.hdr")).name
        'a.img'
    """
    return path.with_suffix(_PAIR.get(path.suffix, path.suffix))


def image_parts(path: str | Path) -> list[Path]:
    """Files that are read together with an image, itself first.

    When to use: to tell whether an image has changed: the header of one in two files stays what it was. Of MetaImage
    and NRRD the header says which files hold the voxels.

    Args:
        path: of an image: a file, or a folder of DICOM files.

    Returns:
        Files that are there: of a folder, those in it whose names do not begin with a dot, sorted; none of nothing.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.mhd").write_text("ElementDataFile = b.zraw")
        ...     Path(folder, "b.zraw").touch()
        ...     [one.name for one in image_parts(f"{folder}/a.mhd")]
        ['a.mhd', 'b.zraw']
    """
    where = Path(path)
    if where.is_dir():
        return sorted(one for one in where.iterdir() if one.is_file() and not one.name.startswith("."))
    if not where.is_file():
        return []
    if where.suffix.lower() in _TEXT:
        others = _named_data(where)
    else:
        others = [other_of_pair(where)] if where.suffix in _PAIR else []
    return list(dict.fromkeys([where, *(one for one in others if one.is_file())]))


def _named_data(path: Path) -> list[Path]:
    """Files of voxels that a header in text names: one, a list, or a pattern with numbers."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if path.suffix.lower() in (".nhdr", ".nrrd"):
        head = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]  # voxels follow
    found = _DATA.search(head)
    if found is None:
        return []
    name = os.fsdecode(found[1])
    if re.match(r"(?i)list\b", name):
        names = [os.fsdecode(line).strip() for line in head[found.end() :].splitlines()]
        return [path.parent / one for one in names if one and "\0" not in one]
    if pattern := re.match(r"\S*%0?\d*d\S*", name):
        fits = re.sub(r"%%?0?\d*d", r"\\d+", re.escape(Path(pattern[0]).name).replace(r"\%", "%"))
        folder = (path.parent / pattern[0]).parent
        return sorted(one for one in folder.iterdir() if re.fullmatch(fits, one.name)) if folder.is_dir() else []
    return [] if name in ("LOCAL", "Local", "local") or "\0" in name else [path.parent / name]
