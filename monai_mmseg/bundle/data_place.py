# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Where the data of a bundle lie, seen from the bundle, so that both may be moved together."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

_BESIDE = re.compile(r"\$os\.path\.realpath\(os\.path\.join\(@bundle_root, (?P<quote>['\"])(?P<way>.*)(?P=quote)\)\)")


def data_place(bundle: str | os.PathLike[str], data: str | os.PathLike[str]) -> str:
    """Value of ``dataset_dir`` for data that stay where they are.

    Args:
        bundle: its folder.
        data: folder of the datalist.

    Returns:
        An expression without a path of this machine; the path itself if the data are on another drive.

    Examples:
        >>> data_place("lab/mine", "lab/data")
        "$os.path.realpath(os.path.join(@bundle_root, '../data'))"
    """
    try:
        way = os.path.relpath(os.path.realpath(data), os.path.realpath(bundle)).replace(os.sep, "/")
    except ValueError:  # another drive
        return str(data)
    return f"$os.path.realpath(os.path.join(@bundle_root, {way!r}))"


def moved_data_place(value: Any, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Any:
    """``dataset_dir`` of a copy of a bundle in another folder; what :func:`data_place` did not make stays.

    Args:
        value: of the bundle.
        old: its folder.
        new: that of the copy.

    Examples:
        >>> moved_data_place(data_place("lab/mine", "lab/data"), "lab/mine", "served/copies/mine")
        "$os.path.realpath(os.path.join(@bundle_root, '../../../lab/data'))"
        >>> moved_data_place("@phantom_dir", "lab/mine", "served/mine")
        '@phantom_dir'
    """
    match = _BESIDE.fullmatch(value) if isinstance(value, str) else None
    return value if match is None else data_place(new, Path(old) / match["way"])
