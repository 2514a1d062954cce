# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Multi-modal medical image segmentation for modalities that are unpaired, misaligned, missing or not annotated."""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

_PACKAGES = (
    "baselines",
    "bundle",
    "cli",
    "data",
    "engines",
    "evaluation",
    "handlers",
    "inferers",
    "losses",
    "metrics",
    "networks",
    "objectives",
    "phantom",
    "preparation",
    "report",
    "runs",
    "transforms",
    "visualize",
)


def __getattr__(name: str) -> ModuleType:
    """Import a sub-package when it is first named, so that configs need one import and the command line starts fast."""
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PACKAGES])
