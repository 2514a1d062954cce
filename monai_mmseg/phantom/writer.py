# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Write phantoms: volumes, labels and datalist, all or nothing."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["DATALIST", "RECORD", "in_threads", "is_phantom", "write_folder"]

DATALIST, RECORD = "datalist.json", "phantom.json"
MOST_THREADS = 4  # a full-size volume of the heart takes about 200 MB while it is made

Result = TypeVar("Result")


def in_threads(function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    """Results of independent calls, in order; NumPy lets several run at once.

    Args:
        function: what to call.
        jobs: arguments of each call.

    Returns:
        Iterator over the results.

    Examples:
        >>> list(in_threads(pow, [(2, 3), (3, 2)]))
        [8, 9]
    """
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        waiting = [pool.submit(function, *job) for job in jobs]
        try:
            for result in waiting:
                yield result.result()
        finally:
            for result in waiting:
                result.cancel()


def is_phantom(folder: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether a folder holds the phantom with exactly these parameters.

    Args:
        folder: folder that may not exist.
        parameters: what the phantom would be made from.

    Returns:
        True if nothing has to be made.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = isinstance(record, dict) and record.get("parameters") == json.loads(json.dumps(dict(parameters)))
    return same and (folder / DATALIST).is_file()


def write_folder(folder: Path, parameters: Mapping[str, Any], fill: Callable[[Path], None]) -> Path:
    """Fill a temporary folder and rename it, so that the folder is there as a whole or not at all.

    Several processes may do so at a time: the first to finish wins, and the others take its folder.

    Args:
        folder: folder to make.
        parameters: what it is made from, kept by ``fill`` in its record.
        fill: writes everything into the folder that it is given.

    Returns:
        Path of the datalist in ``folder``.

    Raises:
        FileExistsError: ``folder`` has content other than the phantom with these parameters.
    """
    if is_phantom(folder, parameters):
        return folder / DATALIST
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"out_dir must be new, empty or hold the phantom with the same parameters, got {str(folder)!r} with "
            "other content; choose another folder or delete it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fill(partial)
        partial.chmod(0o755)  # mkdtemp makes folders that only the owner may read
        try:
            os.replace(partial, folder)
        except OSError:
            if not is_phantom(folder, parameters):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / DATALIST
