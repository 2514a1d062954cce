# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import gzip
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    # a name of its own keeps threads, processes and machines apart; whoever writes gives it the rights of its umask
    part = target.with_name(f".{uuid.uuid4().hex}.part{''.join(target.suffixes[-2:])}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # else a crash of the machine may leave the new name on an empty file
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


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
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    # level 1: a third of the time of the default and, for noise, nearly the same size
    with atomic_path(path) as part:
        part.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
    return Path(path)


def atomic_save(content: Any, path: str | os.PathLike[str]) -> Path:
    """Write with :func:`torch.save`: a kill in between leaves the old file.

    When to use: for checkpoints that a later run depends on.

    Args:
        content: what to save.
        path: the file.

    Returns:
        The path.

    Examples:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = atomic_save({"a": 1}, Path(folder) / "sub" / "x.pt")
        ...     torch.load(path, weights_only=True), sorted(p.name for p in path.parent.iterdir())
        ({'a': 1}, ['x.pt'])
    """
    import torch

    with atomic_path(path) as part:
        torch.save(content, part)
    return Path(path)
