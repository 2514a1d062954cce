# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The hidden folder of an import that is under way; what a killed one finished is taken over by the next."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_mmseg.files import is_abandoned, is_unfinished, part_path


@contextmanager
def kept_stage(folder: Path, name: str, key: str) -> Iterator[Path]:
    """A folder for unfinished work below `folder`, with what a killed process left there for the same key.

    It is removed when the block ends, except by an interrupt or for want of memory: then the same work may go on from
    there. Folders that killed processes left for other keys are removed.

    Args:
        folder: where the result will be; it is made, and removed again if nothing comes of it.
        name: of the result.
        key: what the work is done from; equal keys mean equal results.

    Raises:
        FileExistsError: if another process is at work on `name` right now.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with kept_stage(Path(folder), "list", "0a") as stage:
        ...         found = stage.is_dir()
        ...     found, os.listdir(folder)
        (True, [])
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    stage = part_path(folder / f"{name}-import-{key}")
    for path in folder.iterdir():
        if not is_unfinished(path.name) or not path.name.startswith(f".{name}-import-"):
            continue
        if not is_abandoned(path) and f"@{os.getpid()}-" not in path.name:
            who = re.search(r"@(\d+)-", path.name)
            raise FileExistsError(
                f"{folder / name} is being made by another process{f' ({who[1]})' if who else ''}; wait for it, or "
                "name another place."
            )
        if path.name.startswith(f".{name}-import-{key}.") and not stage.exists():
            os.rename(path, stage)  # who comes first has it
        else:
            shutil.rmtree(path, ignore_errors=True)
    stage.mkdir(exist_ok=True)
    keep = False
    try:
        yield stage
    except (KeyboardInterrupt, SystemExit, MemoryError):
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(stage, ignore_errors=True)
            if made and not any(folder.iterdir()):
                folder.rmdir()
