# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are whole or not there, and what a process that was killed left of them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABANDONED = 3600.0
"""Seconds after which an unfinished file is nobody's, where it cannot be asked whether its process lives."""

_OWNER = re.compile(r"\.(?P<host>[\w-]*)@(?P<process>\d+)-[0-9a-f]+\.part")


def _part_of(target: Path) -> Path:
    """A hidden name beside the target that says who writes it."""
    host = re.sub(r"[^\w-]", "_", platform.node())
    return target.with_name(f".{target.name}.{host}@{os.getpid()}-{uuid.uuid4().hex[:8]}.part{_ending(target)}")


def _ending(target: Path) -> str:
    # writers choose the format by it; what else follows a dot belongs to the name
    return ".nii.gz" if target.name.endswith(".nii.gz") else target.suffix


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which takes the name of the file when the block ends and is deleted when it fails.

    When to use: where a killed process must leave nothing that looks like a result, and the next run has to find what
    it left (:func:`remove_leftovers`).

    Args:
        path: the file; its folder is made.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(f"{folder}/a.nii.gz") as part:
        ...         _ = part.write_text("whole")
        ...         part.name.endswith(".part.nii.gz"), os.path.exists(f"{folder}/a.nii.gz")
        ...     os.listdir(folder)
        (True, False)
        ['a.nii.gz']
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(target)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # else a crash of the machine may leave the new name on an empty file
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill, which takes its name when the block ends and is deleted when it fails.

    Args:
        path: the folder; must not exist. Unfinished ones of this name, which killed processes left, are removed.

    Raises:
        FileExistsError: there is something at `path`.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_folder(f"{folder}/sub/a") as part:
        ...         _ = (part / "x").write_text("whole")
        ...     os.listdir(f"{folder}/sub"), os.listdir(f"{folder}/sub/a")
        (['a'], ['x'])
    """
    target = Path(os.path.abspath(path))
    if os.path.lexists(target):
        raise FileExistsError(f"{os.fspath(path)} must not exist, but it is there; give another place or remove it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, of=target.name)
    part = _part_of(target)
    part.mkdir()
    try:
        yield part
        os.rename(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def remove_leftovers(folder: str | os.PathLike[str], of: str | None = None) -> None:
    """Remove what killed processes left unfinished; files of processes that live stay.

    Args:
        folder: where to look, not in its sub-folders.
        of: only what was to become a file or folder of this name.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(f"{folder}/a.txt") as part:
        ...         _ = part.write_text("in work")
        ...         remove_leftovers(folder)
        ...     os.listdir(folder)
        ['a.txt']
    """
    place = Path(folder)
    for path in place.iterdir() if place.is_dir() else ():
        if is_unfinished(path.name) and (of is None or path.name.startswith(f".{of}.")) and _is_abandoned(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def is_unfinished(name: str) -> bool:
    """Whether a file or folder of this name is one that a process writes, or left.

    Args:
        name: without its folder.

    Examples:
        >>> is_unfinished(".a.nii.gz.host@12-0123abcd.part.nii.gz"), is_unfinished("a.part.nii.gz")
        (True, False)
    """
    return name.startswith(".") and re.search(r"\.part(\.|$)", name) is not None


def _is_abandoned(path: Path) -> bool:
    owner = _OWNER.search(path.name)
    if owner and owner["host"] == re.sub(r"[^\w-]", "_", platform.node()) and os.name == "posix":
        try:
            os.kill(int(owner["process"]), 0)  # asks only
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
    try:
        return time.time() - path.stat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False
