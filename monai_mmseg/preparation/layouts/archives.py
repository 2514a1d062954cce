# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Data sets that are still packed."""

from __future__ import annotations

import shutil
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

from monai_mmseg.files import atomic_folder

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_FOLDER = "unpacked"


def unpacked(source: str | Path, out: str | Path) -> str:
    """The folder of a data set: where it is, or, of an archive, where it was unpacked to.

    Images of an imported set stay where they are, so what was unpacked stays in the folder of the import. It is
    unpacked once, and again when the archive has changed since.

    Args:
        source: folder, or a file ending on one of :data:`ENDINGS`.
        out: folder that is imported to; gets ``unpacked/NAME``.

    Returns:
        The folder to read; of an archive of one folder that one.

    Raises:
        ValueError: if the archive is broken or not whole, or has members outside of its own folder.

    Examples:
        >>> unpacked("data/Dataset012_Abdomen", "out")
        'data/Dataset012_Abdomen'
    """
    path = Path(source)
    ending = next((one for one in sorted(ENDINGS, key=len, reverse=True) if path.name.lower().endswith(one)), None)
    if ending is None or not path.is_file():
        return str(source)
    target = Path(out) / _FOLDER / path.name[: -len(ending)]
    if not target.is_dir() or target.stat().st_mtime < path.stat().st_mtime:
        shutil.rmtree(target, ignore_errors=True)
        try:
            with atomic_folder(target) as stage:
                _unpack(path, stage, ending)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
            why = str(error).partition("\n")[0].rstrip(":")
            raise ValueError(f"{path} cannot be unpacked ({why}); was it copied or downloaded whole?") from error
    inside = [one for one in target.iterdir() if not one.name.startswith((".", "__MACOSX"))]
    return str(inside[0] if len(inside) == 1 and inside[0].is_dir() else target)


def _unpack(path: Path, stage: Path, ending: str) -> None:
    if ending == ".zip":
        with zipfile.ZipFile(path) as archive:
            outside = [name for name in archive.namelist() if name.startswith("/") or ".." in Path(name).parts]
            if outside:
                raise ValueError(f"{outside[0]!r} lies outside of it")
            archive.extractall(stage)
        return
    with tarfile.open(path) as archive:
        if not hasattr(tarfile, "data_filter"):
            raise ValueError(f"Python {sys.version.split()[0]} cannot unpack it safely: unpack it yourself")
        archive.extractall(stage, filter="data")
