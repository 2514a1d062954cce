# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Where a command writes: never over what is there unless that is asked for, and whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_mmseg.files import is_unfinished, part_path, remove_leftovers, write_json

ASK = "name another one, or overwrite it (--overwrite; overwrite=True in Python)"

_STAGE = "new_files"


def _place(path: str | os.PathLike[str]) -> Path:
    """The path, if something can be made there."""
    target = Path(path)
    above = target.absolute().parent
    while not os.path.lexists(above):
        above = above.parent
    if not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be written, since {above} is a file.")
    return target


def check_output_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a file that must not be written; nothing is made yet.

    Use it before long work whose result is one file.

    Args:
        path: the file.
        overwrite: whether a file that is there may be replaced.

    Returns:
        The path.

    Raises:
        OSError: if there is a file already, the path is a folder, or lies under a file.

    Examples:
        >>> check_output_file("no/such/file.json").name
        'file.json'
    """
    target = _place(path)
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, a file is to be written; name a file in it.")
    if not overwrite and target.exists() and target.stat().st_size:
        raise FileExistsError(f"{path} is there already; {ASK}.")
    return target


def check_output_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a folder that must not be written to; nothing is made yet.

    Args:
        path: the folder.
        overwrite: whether files in it may be replaced.

    Returns:
        The path.

    Raises:
        OSError: if the folder holds something already, the path is a file, or lies under a file.

    Examples:
        >>> check_output_folder("no/such/folder").name
        'folder'
    """
    target = _place(path)
    if os.path.lexists(target) and not target.is_dir():
        raise NotADirectoryError(f"{path} is a file, a folder is to be written.")
    if not overwrite and target.is_dir() and any(not is_unfinished(one.name) for one in target.iterdir()):
        raise FileExistsError(f"{path} is not empty; {ASK}.")
    return target


def check_files(folder: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to replace files of a folder that holds other things, too.

    Args:
        folder: the folder.
        files: paths relative to it.

    Raises:
        FileExistsError: if one of them is there.

    Examples:
        >>> check_files("no/such/folder", ["a.nii.gz"])
    """
    if there := [path for file in files if os.path.lexists(path := Path(folder) / file)]:
        more = f", and {len(there) - 1} more files" if len(there) > 1 else ""
        raise FileExistsError(f"{there[0]} is there already{more}; {ASK}.")


def spare_originals(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Refuse to replace what is read, even where it was said that files may be replaced.

    Args:
        written: files, or folders that are replaced whole.
        read: files and folders.

    Raises:
        ValueError: if one of `read` is, by whatever name, one of `written` or lies in it.

    Examples:
        >>> spare_originals([Path("no/such/file")], [Path("a.nii.gz")])
    """
    there = [path for path in written if path.exists()]
    if not there:
        return
    originals = [path for path in read if path.exists()]
    known = {(at.st_dev, at.st_ino) for at in (path.stat() for path in originals)}
    names = {name for path in originals for name in (os.path.abspath(path), os.path.realpath(path))}
    for path in there:
        at, within = path.stat(), os.path.join(os.path.realpath(path), "")
        if (at.st_dev, at.st_ino) in known or (path.is_dir() and any(name.startswith(within) for name in names)):
            raise ValueError(f"{path} is read, or holds what is read, and would be replaced; write elsewhere (--out).")


def write_new_json(path: str | os.PathLike[str], content: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Write a mapping as JSON: the whole file or none.

    Args:
        path: the file.
        content: what to write.
        overwrite: whether a file that is there may be replaced.

    Returns:
        The path.

    Raises:
        OSError: as :func:`check_output_file`, or if it cannot be written.
    """
    target = check_output_file(path, overwrite=overwrite)
    with new_files(target.parent, overwrite=True) as stage:
        write_json(stage / target.name, content)
    return target


@contextmanager
def new_files(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """An empty folder to write to, whose files take their places below `folder` when the block ends.

    Use it for work of several files: where it fails or is killed, nothing of it is in the folder. Files in the folder
    that have other names stay.

    Args:
        folder: where the files will be; it is made.
        overwrite: whether files of the same names may be replaced.

    Raises:
        OSError: if a file is there already, or cannot be written.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with new_files(f"{folder}/out") as stage:
        ...         _ = (stage / "a.txt").write_text("whole")
        ...     [path.name for path in Path(folder, "out").iterdir()]
        ['a.txt']
    """
    target = _place(folder)
    with _one_sentence(target):
        # a folder that is there may be a disk of its own, onto which nothing can be renamed from beside it
        place = target if target.is_dir() else target.parent
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place, of=_STAGE)
        stage = part_path(place / _STAGE)
        try:
            stage.mkdir()
            yield stage
            move_files(stage, target, overwrite=overwrite)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _one_sentence(target: Path) -> Iterator[None]:
    """What the system says about a full disk or missing rights, with the path that was asked for."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # has a sentence of its own
            raise
        named = str(error.filename or "")
        if named and not named.startswith(str(target.parent)):
            raise
        raise type(error)(f"{target} cannot be written: {error.strerror}.") from error


def move_files(stage: Path, target: Path, *, overwrite: bool = False) -> None:
    """Put the files of a folder into another, those of sub-folders first: a list comes after what it names.

    Args:
        stage: folder on the same file system; it is gone, or left without files.
        target: where they go.
        overwrite: whether files of the same names may be replaced.

    Raises:
        OSError: if a file is there already, or cannot be moved.
    """
    files = [path.relative_to(stage) for path in stage.rglob("*") if path.is_file()]
    files.sort(key=lambda file: (-len(file.parts), file))
    if files and not target.exists():
        try:
            os.rename(stage, target)  # all at once
        except OSError:
            pass  # another process was faster, or a file system that cannot: one by one
        else:
            return
    if not overwrite:
        check_files(target, files)
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(stage / file, target / file)
