# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Fingerprints by hand, for the rules of a plan."""

from __future__ import annotations

from typing import Any

from monai_mmseg.planning import Context, find_situation

LABELS = {"0": "background", "1": "liver", "2": "spleen"}


def image(subject: str, modality: str, **changes: Any) -> dict[str, Any]:
    """An image of 100 x 100 x 20 voxels with an organ of 40 x 60 x 10 in its middle."""
    return {
        "subject": subject,
        "modality": modality,
        "shape": [100, 100, 20],
        "spacing": [1.0, 1.0, 8.0],
        "plane": "axial",
        "body": [[0, 100], [0, 100], [0, 20]],
        "foreground": [[30, 70], [20, 80], [5, 15]],
        "label_voxels": {"liver": 9000, "spleen": 900},
        **changes,
    }


def numbers(low: float, middle: float, high: float) -> dict[str, float]:
    """Grey values."""
    return {"p0.5": low, "p50": middle, "p99.5": high, "mean": middle, "sd": 50.0}


def fingerprint_of(
    subjects: dict[str, tuple[str, ...]],
    *,
    bare: tuple[str, ...] = (),
    offset: float | None = 0.0,
    labels: dict[str, str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A fingerprint of subjects with these modalities.

    Args:
        subjects: name to modalities.
        bare: modalities without labels.
        offset: of every pair, in mm.
        labels: value to name.
        **changes: of every image.
    """
    modalities = list(dict.fromkeys(name for own in subjects.values() for name in own))
    images = [image(one, name, **changes) for one, own in subjects.items() for name in own]
    for one in images:
        if one["modality"] in bare:
            one.update(foreground=None, label_voxels=None)
    return {
        "name": "by hand",
        "modalities": modalities,
        "labels": dict(LABELS if labels is None else labels),
        "subjects": [
            {"subject": one, "fold": i % 2, "images": list(own), "labelled": [m for m in own if m not in bare]}
            for i, (one, own) in enumerate(subjects.items())
        ],
        "images": images,
        "intensity": {
            name: {
                "image": numbers(-1000.0, -300.0, 500.0) if name == "ct" else numbers(5.0, 200.0, 900.0),
                "foreground": numbers(-50.0, 100.0, 250.0) if name == "ct" else numbers(100.0, 300.0, 700.0),
            }
            for name in modalities
        },
        "pairs": [
            {"subject": one, "modalities": list(own[:2]), "one_grid": False, "offset": offset}
            for one, own in subjects.items()
            if len(own) > 1
        ],
        "test": [],
    }


def unpaired(**settings: Any) -> dict[str, Any]:
    """Four patients, two with CT and two with MR."""
    return fingerprint_of({"a": ("ct",), "b": ("ct",), "c": ("mr",), "d": ("mr",)}, **settings)


def paired(**settings: Any) -> dict[str, Any]:
    """Two subjects with T1 and T2 each."""
    return fingerprint_of({"a": ("t1", "t2"), "b": ("t1", "t2")}, **settings)


def context_of(fingerprint: dict[str, Any], method: str, **settings: Any) -> Context:
    """A context on a CPU with ten minutes, unless told otherwise."""
    given = {"budget": 600.0, "speed": {2: 4e5, 3: 2e5}, "memory": 4e9, **settings}
    return Context(fingerprint, find_situation(fingerprint), method=method, **given)
