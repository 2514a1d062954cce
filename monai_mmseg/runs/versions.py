# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What software a run was made with."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import torch

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


def machine_name() -> str:
    """System, processor with its cores, and GPUs: what a time or a last digit may depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    cores = f"{named or platform.processor() or platform.machine()}, {os.cpu_count()} CPU cores"
    return ", ".join([f"{platform.system()} {platform.machine()}", cores, *gpus])


@functools.cache  # what a process has imported stays, whatever becomes of the checkout
def made_with() -> str:
    """One line about the software and the machine of this process.

    Examples:
        >>> made_with().startswith("monai_mmseg ")
        True
    """
    found, commit = software_versions(), git_commit()
    own = f"monai_mmseg {found['monai_mmseg']}{f' ({commit})' if commit else ''}"
    return ", ".join([own, *(f"{name} {found[name]}" for name in ("torch", "monai", "python")), machine_name()])
