# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Packages whose names are imported when they are first used, for what needs one small module of many."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

OLD_NAMES = {
    "monai_mmseg.bundle": {
        "VolumeWriter": "monai_mmseg.bundle.volume_writer",
        "prediction_name": "monai_mmseg.bundle.naming",
    },
    "monai_mmseg.data": {
        **dict.fromkeys(("mask_labels", "select_labelled_subjects"), "monai_mmseg.data.annotations"),
        **dict.fromkeys(
            [
                *("DatalistReport", "VolumeFacts", "assign_folds", "check_datalist", "datalist_statistics"),
                *("merge_datalists", "write_contact_sheet", "write_folds", "write_stacks"),
            ],
            "monai_mmseg.preparation",
        ),
    },
}
"""Package to names that were public there, and where they are now: old scripts go on importing them."""


def lazy_names(package: str) -> Callable[[str], Any]:
    """A package's ``__getattr__`` that imports what stands under ``if TYPE_CHECKING:`` when it is asked for.

    :data:`OLD_NAMES` of the package are found, too.

    When to use: in an ``__init__`` whose modules import much that a user of a single one does not need. No public name
    may also be the name of a module of the package: the import of the module would hide it.

    Args:
        package: ``__name__`` of the package.

    Returns:
        The function; it raises AttributeError for other names.

    Examples:
        >>> lazy_names("monai_mmseg.data")("ABDOMEN_LABELS")
        Traceback (most recent call last):
        AttributeError: module 'monai_mmseg.data' has no attribute 'ABDOMEN_LABELS'
    """

    @cache
    def places() -> dict[str, str]:
        body = ast.parse(inspect.getsource(sys.modules[package])).body
        guarded = [one for part in body if isinstance(part, ast.If) for one in part.body]
        now = {name.name: one.module or "" for one in guarded if isinstance(one, ast.ImportFrom) for name in one.names}
        return {**OLD_NAMES.get(package, {}), **now}

    def find(name: str) -> Any:
        if name.startswith("__") or name not in places():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(places()[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
