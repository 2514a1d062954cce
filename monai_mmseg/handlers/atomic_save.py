# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

__all__ = ["atomic_save"]


def atomic_save(content: Any, path: str | os.PathLike[str]) -> Path:
    """Write with :func:`torch.save` beside the target, then rename: a kill in between leaves the old file.

    When to use: for checkpoints that a later run depends on.

    Args:
        content: what to save.
        path: the file; its folder is made.

    Returns:
        The path.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = atomic_save({"a": 1}, Path(folder) / "sub" / "x.pt")
        ...     torch.load(path, weights_only=True), sorted(p.name for p in path.parent.iterdir())
        ({'a': 1}, ['x.pt'])
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
