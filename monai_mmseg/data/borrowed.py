# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Labels that a network may learn from and nothing is scored against: predictions in the place of annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monai_mmseg.data.annotations import without_label

SOURCE = "label_source"
"""Key of an item whose label is borrowed: what made it."""


def source_problems(item: Mapping[str, Any], where: str) -> list[str]:
    """What is wrong with what an item says about the origin of its label.

    Args:
        item: of a datalist's file, maybe with ``label_source``.
        where: it stands, such as ``training[3]``.

    Returns:
        Sentences without their full stop; none if nothing is wrong.

    Examples:
        >>> source_problems({"label": "a.nii", "label_source": "register"}, "training[0]")
        []
        >>> source_problems({"label": "a.nii", "label_source": "register"}, "test[0]")
        ["'label_source' says that the label is borrowed, from 'register': what is tested needs labels that are true"]
    """
    if SOURCE not in item:
        return []
    source = item[SOURCE]
    if not isinstance(source, str) or not source.strip():
        return [f"{SOURCE!r} must name what made the label, or be left out of a true one, got {source!r}"]
    if not item.get("label"):
        return [f"{SOURCE!r} tells of a label, and there is none"]
    if not where.startswith("test"):
        return []
    return [f"{SOURCE!r} says that the label is borrowed, from {source!r}: what is tested needs labels that are true"]


def has_true_label(item: Mapping[str, Any]) -> bool:
    """Whether an item can be scored.

    Examples:
        >>> [has_true_label({"label": "a.nii", **more}) for more in ({}, {"label_source": "register"})]
        [True, False]
    """
    return bool(item.get("label")) and not item.get(SOURCE)


def without_borrowed(item: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of an item that has a true label or none.

    Examples:
        >>> without_borrowed({"image": "a.nii", "label": "b.nii", "label_source": "register"})
        {'image': 'a.nii'}
    """
    return without_label(item) if item.get(SOURCE) else dict(item)


def borrowed_text(items: Iterable[Mapping[str, Any]]) -> str:
    """How many labels are borrowed and from what, as words; empty if none is.

    Examples:
        >>> borrowed_text([{"label_source": "register"}, {}, {"label_source": "register"}])
        '2 (register)'
    """
    sources = [str(item[SOURCE]) for item in items if item.get(SOURCE)]
    return f"{len(sources)} ({', '.join(dict.fromkeys(sources))})" if sources else ""
