# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``baseline.json`` beside the masks of a baseline: what made them, whose they are, and what was counted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from monai_mmseg.files import read_record

RECORD = "baseline.json"
"""Settings, and for each subject its file and what was done how often."""


def recorded_masks(folder: str | Path) -> dict[str, dict[str, Any]] | None:
    """What the record of a folder says of each subject.

    Args:
        folder: of masks.

    Returns:
        Subject to ``file``, relative to the folder (older records lack it), ``counts`` and more; ``None`` without a
        record.

    Examples:
        >>> recorded_masks("no/such/folder") is None
        True
    """
    found = read_record(Path(folder, RECORD)).get("subjects")
    if not isinstance(found, Mapping):
        return None
    return {str(subject): dict(done) for subject, done in found.items() if isinstance(done, Mapping)}


def stale_masks(folder: Path, listed: Mapping[str, Path], made: Mapping[str, Path]) -> dict[str, Path]:
    """Masks of listed images that an earlier run wrote and the one that ends now did not.

    Args:
        folder: of masks.
        listed: subject to the file that its mask would be, of all target images, relative to the folder.
        made: the same, of those that are made.

    Returns:
        Subject to a file that is there, relative to the folder.
    """
    found = {}
    for subject, done in (recorded_masks(folder) or {}).items():
        named = PurePosixPath(str(done.get("file") or listed.get(subject, Path()).as_posix()))
        own = named.parts and not named.is_absolute() and ".." not in named.parts
        if subject in listed and own and Path(named) not in made.values() and (folder / named).is_file():
            found[subject] = Path(named)
    return found


def kept_masks(folder: Path, about: Mapping[str, Any], listed: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What an earlier record says of subjects of another list or section, if it is of the same method and settings.

    Args:
        folder: of masks.
        about: method, modalities and settings.
        listed: subjects that have a target image now.

    Returns:
        As of :func:`recorded_masks`.
    """
    known = read_record(folder / RECORD)
    if any(known.get(key) != value for key, value in about.items()):
        return {}
    gone = set(listed)
    return {subject: done for subject, done in (recorded_masks(folder) or {}).items() if subject not in gone}


def remove_masks(folder: Path, files: Iterable[Path]) -> None:
    """Remove masks, and the folders of subjects that they leave empty."""
    for file in files:
        (folder / file).unlink(missing_ok=True)
        if (folder / file).parent != folder:
            with contextlib.suppress(OSError):  # it holds something else
                (folder / file).parent.rmdir()
