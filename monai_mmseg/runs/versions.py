# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What software a run was made with."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import monai_mmseg

PACKAGES = ("torch", "monai", "pytorch-ignite", "numpy", "nibabel")


def software_versions(*more: str) -> dict[str, str]:
    """Versions of Python, this package and what it stands on, and of other packages that are installed."""
    found = {"python": platform.python_version(), "monai_mmseg": monai_mmseg.__version__}
    for package in (*PACKAGES, *more):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Commit of the checkout that this package is imported from; ``+`` marks changes; ``None`` outside of one."""
    root = Path(monai_mmseg.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None

    def git(*arguments: Sequence[str] | str) -> str:
        command = ["git", "-C", str(root), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
