# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


BLOCK, BLOCKS = 1 << 16, 16
"""Bytes, and how many times so many, that are read of a large file to tell it from another."""
ABANDONED = 3600.0
"""Seconds after which an unfinished file is nobody's, where it cannot be asked whether its process lives."""

_OWNER = re.compile(r"\.(?P<host>[\w-]*)@(?P<process>\d+)-[0-9a-f]+\.part")


def part_path(target: Path) -> Path:
    """A hidden name beside the target that says who writes it; threads, processes and machines have their own.

    Args:
        target: file or folder that it is to become.

    Returns:
        The path.
    """
    host = re.sub(r"[^\w-]", "_", platform.node())
    return target.with_name(f".{target.name[:100]}.{host}@{os.getpid()}-{uuid.uuid4().hex[:8]}.part{_ending(target)}")


def _ending(target: Path) -> str:
    # writers choose the format by it; what else follows a dot belongs to the name
    return ".nii.gz" if target.name.endswith(".nii.gz") else target.suffix


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which takes the name of the file when the block ends and is deleted when it fails.

    Args:
        path: the file; its folder is made.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_path(f"{folder}/a.txt") as part:
        ...         _ = part.write_text("whole")
        ...     [(p.name, p.read_text()) for p in Path(folder).iterdir()]
        [('a.txt', 'whole')]
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(target)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # else a crash of the machine may leave the new name on an empty file
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill, which takes its name when the block ends and is deleted when it fails.

    Args:
        path: the folder; must not exist. Unfinished ones of this name, which killed processes left, are removed.

    Raises:
        FileExistsError: there is something at `path`.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_folder(f"{folder}/sub/a") as part:
        ...         _ = (part / "x").write_text("whole")
        ...     os.listdir(f"{folder}/sub"), os.listdir(f"{folder}/sub/a")
        (['a'], ['x'])
    """
    target = Path(os.path.abspath(path))
    if os.path.lexists(target):
        raise FileExistsError(f"{os.fspath(path)} must not exist, but it is there; give another place or remove it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, of=target.name)
    part = part_path(target)
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
        ...     with atomic_path(f"{folder}/a.txt") as part:
        ...         _ = part.write_text("in work")
        ...         remove_leftovers(folder)
        ...     os.listdir(folder)
        ['a.txt']
    """
    place = Path(folder)
    for path in place.iterdir() if place.is_dir() else ():
        if is_unfinished(path.name) and (of is None or path.name.startswith(f".{of[:100]}.")) and is_abandoned(path):
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


def is_abandoned(path: Path) -> bool:
    """Whether nobody writes to an unfinished file or folder any more.

    Args:
        path: of a name that :func:`part_path` gave.

    Returns:
        True if its process is gone, or is of another machine and did not touch it for :data:`ABANDONED` seconds.
    """
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


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file in UTF-8.

    Args:
        path: the file.
        text: its content.

    Returns:
        The path.
    """
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def read_json(path: str | os.PathLike[str]) -> Any:
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
        if "\\u" in text:  # half of a character could be neither printed nor written
            json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a JSON file in UTF-8 ({error}).") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{path}: not a JSON file (a text in it is broken: {error.reason}).") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not a JSON file (its objects are nested too deeply).") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error}).") from error
    return raw


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a JSON file holds that may be missing, cut off or somebody else's.

    Args:
        path: the file.

    Returns:
        The object; empty where there is none.

    Examples:
        >>> read_record("no such file")
        {}
    """
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Write a mapping as indented JSON.

    Args:
        path: the file.
        content: what to write; JSON has no NaN, so such a number is an error.

    Returns:
        The path.

    Raises:
        ValueError: a number is not finite.
    """
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_nifti(path: str | os.PathLike[str], array: NDArray[Any], affine: NDArray[np.floating]) -> Path:
    """Write a volume so that equal content gives equal bytes (no time stamp, no file name in the gzip header).

    Args:
        path: the file, ``.nii.gz``.
        array: voxels, ``(X, Y, Z)`` or, several volumes in one, ``(X, Y, Z, M)``.
        affine: voxel index to patient position (mm, RAS+), ``(4, 4)``.

    Returns:
        The path.
    """
    import nibabel as nib

    image = nib.Nifti1Image(array, affine)
    place_nifti(image, affine)
    # level 1: a third of the time of the default and, for noise, nearly the same size
    with atomic_path(path) as part:
        part.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
    return Path(path)


def place_nifti(image: Any, affine: NDArray[np.floating]) -> None:
    """Write an affine into a NIfTI header so that every reader finds the same place.

    A qform holds rotations alone. Of a sheared affine (a tilted gantry) it is not declared, since many programs take it
    first.

    Args:
        image: of nibabel.
        affine: voxel index to patient position (mm, RAS+), ``(4, 4)``.
    """
    import numpy as np

    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    size = np.linalg.norm(affine[:3, :3], axis=0) * image.shape[:3]
    # each edge of the volume to a hundredth of a voxel, and what single precision leaves of a rotation
    apart = np.linalg.norm(image.get_qform()[:3, :3] - affine[:3, :3], axis=0) * image.shape[:3]
    if (apart > 0.01 * np.linalg.norm(affine[:3, :3], axis=0) + 1e-5 * size).any():
        image.set_qform(affine, code=0)


def atomic_save(content: Any, path: str | os.PathLike[str]) -> Path:
    """Write with :func:`torch.save`: a kill in between leaves the old file.

    When to use: for checkpoints that a later run depends on.

    Args:
        content: what to save.
        path: the file.

    Returns:
        The path.

    Raises:
        OSError: it could not be written; how much room there is.

    Examples:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = atomic_save({"a": 1}, Path(folder) / "sub" / "x.pt")
        ...     torch.load(path, weights_only=True), sorted(p.name for p in path.parent.iterdir())
        ({'a': 1}, ['x.pt'])
    """
    import torch

    with atomic_path(path) as part:
        try:
            torch.save(content, part)
        except (OSError, RuntimeError) as error:  # of a full disk torch says "basic_ios::clear: iostream error"
            room = shutil.disk_usage(part.parent).free / 1e6
            raise OSError(f"{path} cannot be written, and {room:.0f} MB are free there: {error}") from None
    return Path(path)


def file_mark(path: Path) -> str:
    """A short text that another content would hardly have: of gzip the size and the checksum that it ends with.

    Args:
        path: of a file.

    Returns:
        The text; that of a folder or of nothing is empty.

    Examples:
        >>> file_mark(Path("no/such.nii.gz"))
        ''
    """
    if not path.is_file():
        return ""
    size, mark = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        if path.suffix == ".gz" or size <= BLOCK * BLOCKS:
            file.seek(-min(8, size) if path.suffix == ".gz" else -size, 2)
            mark.update(file.read())
        else:
            for at in range(BLOCKS):
                file.seek(at * (size - BLOCK) // (BLOCKS - 1))
                mark.update(file.read(BLOCK))
    return f"{size} {mark.hexdigest()[:16]}"
