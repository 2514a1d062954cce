# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Give the training items of a datalist folds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_mmseg.data.datalist import read_raw
from monai_mmseg.outputs import write_new_json


def assign_folds(items: Iterable[Mapping[str, Any]], folds: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """Give every item a fold, by subject: all images of a subject are in one fold.

    Args:
        items: flat items.
        folds: how many.
        seed: of the shuffle of the subjects.

    Returns:
        Copies of the items with ``fold``, in the same order. Folds differ by at most one subject in size, and so do
        their numbers of subjects with the same modalities.

    Raises:
        ValueError: if there are fewer subjects than folds, or fewer than two folds.

    Examples:
        >>> items = [{"subject": name} for name in "aabbcc"]
        >>> [item["fold"] for item in assign_folds(items, folds=3)]
        [2, 2, 1, 1, 0, 0]
    """
    listed = [dict(item) for item in items]
    subjects = sorted({item["subject"] for item in listed})
    if not 2 <= folds <= len(subjects):
        raise ValueError(f"folds must lie between 2 and the number of subjects ({len(subjects)}), got {folds}.")
    shuffled = [subjects[place] for place in np.random.RandomState(seed).permutation(len(subjects))]
    have: dict[str, set[str]] = {subject: set() for subject in subjects}
    for item in listed:
        have[item["subject"]].add(str(item.get("modality")))
    # dealt out kind by kind: with 30 CT and 9 MR of different patients every fold gets some of both
    dealt = sorted(shuffled, key=lambda subject: sorted(have[subject]))
    fold_of = {subject: place % folds for place, subject in enumerate(dealt)}
    return [{**item, "fold": fold_of[item["subject"]]} for item in listed]


def write_folds(
    path: str | Path, out: str | Path | None = None, *, folds: int = 5, seed: int = 0, overwrite: bool = False
) -> Path:
    """Write a datalist whose training items have folds; everything else stays as it is.

    Args:
        path: the datalist.
        out: file to write; default is the same file. Paths stay relative, so it must lie in the same folder.
        folds: how many.
        seed: of the shuffle.
        overwrite: whether folds of the same file, or another file that is there already, may be replaced.

    Returns:
        The file written.

    Raises:
        ValueError: if the form of the datalist is wrong, its own folds would be lost, or `out` lies in another folder.
        OSError: if `out` is there already, or cannot be written.
    """
    raw, problems = read_raw(path)
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems) + ".")
    target = Path(path if out is None else out)
    if target.resolve().parent != Path(path).resolve().parent:
        raise ValueError(f"out must lie in the folder of {path}, since paths in it are relative, got {target}.")
    same = os.path.realpath(target) == os.path.realpath(path)
    items = raw.get("training", [])
    if same and not overwrite and (have := sum("fold" in item for item in items)):
        raise ValueError(
            f"{path}: {have} of {len(items)} training items have folds already; name another file (--out, in the same "
            "folder), or replace them (--overwrite; overwrite=True in Python)."
        )
    raw["training"] = assign_folds(items, folds, seed)
    return write_new_json(target, raw, overwrite=same or overwrite)
