# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Pretend that some subjects have no labels: which ones, and how they are taken away."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from monai_mmseg.data.visits import person_of

Subject = TypeVar("Subject", bound=Hashable)


def select_labelled_subjects(subjects: Sequence[Subject], fraction: float, seed: int = 10) -> list[Subject]:
    """Subjects whose labels may be used; smaller fractions are prefixes of larger ones.

    Source: fact sheet of DAFNet, sec. 5: drawn by subject, never by slice, with one seeded permutation of
    the sorted list.

    Args:
        subjects: names (or numbers), in any order: they are sorted first.
        fraction: share of them, 0 to 1.
        seed: of the permutation.

    Returns:
        ``round(fraction * n)`` subjects.

    Raises:
        ValueError: if `fraction` is not between 0 and 1 or a subject is listed twice.

    Examples:
        >>> chaos = [5, 3, 1, 15, 19, 2, 20, 37, 32, 38, 8, 39, 21, 33]
        >>> select_labelled_subjects(chaos, 0.25)
        [5, 20, 38, 19]
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}.")
    if len(set(subjects)) != len(subjects):
        raise ValueError("subjects must be distinct.")
    ordered = sorted(subjects)  # type: ignore[type-var]
    order = np.random.RandomState(seed).permutation(len(ordered))
    return [ordered[int(place)] for place in order[: round(fraction * len(ordered))]]


def without_label(item: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of an item that says nothing of a label.

    Examples:
        >>> without_label({"image": "a.nii", "label": "b.nii", "annotated": ["liver"]})
        {'image': 'a.nii'}
    """
    return {key: value for key, value in item.items() if key not in ("label", "label_source", "annotated", "unknown")}


def undrawn_classes(items: Iterable[Mapping[str, Any]], labels: Mapping[int, str]) -> dict[str, list[str]]:
    """Classes that no label shows, of each modality: a network would draw them anywhere, for nothing says where not.

    Args:
        items: flat items of a datalist that was read; those without a label do not count.
        labels: value to name.

    Returns:
        Modality to names, where there are any.

    Examples:
        >>> items = [{"modality": "ct", "label": "a.nii", "unknown": [False, False, True]}]
        >>> undrawn_classes(items, {0: "background", 1: "liver", 2: "spleen"})
        {'ct': ['spleen']}
    """
    found: dict[str, list[str]] = {}
    for item in items:
        if item.get("label"):
            hidden = [name for value, name in labels.items() if any(item.get("unknown", ())) and item["unknown"][value]]
            mine = found.setdefault(item["modality"], hidden)
            found[item["modality"]] = [name for name in mine if name in hidden]
    return {modality: names for modality, names in found.items() if names}


def mask_labels(
    items: Iterable[Mapping[str, Any]], modality: str, fraction: float, seed: int = 10
) -> list[dict[str, Any]]:
    """Drop the labels of one modality for all but a fraction of the persons; the files are never read.

    Args:
        items: flat items of a datalist.
        modality: whose labels to drop.
        fraction: share of the subjects that keep theirs, 0 to 1.
        seed: of the permutation.

    Returns:
        Copies of the items.

    Raises:
        ValueError: if no item has that modality.

    Examples:
        >>> items = [{"subject": "a", "modality": "lge", "label": "a.nii", "image": "b.nii"}]
        >>> mask_labels(items, "lge", 0.0)
        [{'subject': 'a', 'modality': 'lge', 'image': 'b.nii'}]
    """
    listed = [dict(item) for item in items]
    subjects = sorted({person_of(item) for item in listed if item["modality"] == modality})
    if not subjects:
        raise ValueError(f"no item has modality {modality!r}, there are {sorted({i['modality'] for i in listed})}.")
    kept = set(select_labelled_subjects(subjects, fraction, seed))
    return [
        without_label(item) if item["modality"] == modality and person_of(item) not in kept else item for item in listed
    ]
