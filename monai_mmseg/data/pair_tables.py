# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Slices that were paired by hand: the form of ``pairs`` in a datalist."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def pair_problems(item: Mapping[str, Any], modalities: Sequence[str]) -> list[str]:
    """What is wrong with the ``pairs`` of an item, as far as it can be told without its images.

    Args:
        item: as it stands in a file.
        modalities: of the datalist.

    Returns:
        Sentences without their full stops.

    Examples:
        >>> pair_problems({"image": "a.nii", "modality": "t1", "subject": "s", "pairs": {"t1": {"0": 1}}}, ["t1", "t2"])
        ["a.nii: 'pairs' of subject 's', t1: 't1' is not another modality of ['t1', 't2']"]
    """
    pairs, own = item.get("pairs", {}), item.get("modality")
    where = f"{item.get('image')}: 'pairs' of subject {item.get('subject')!r}, {own}:"
    if not isinstance(pairs, Mapping):
        return [f"{where} must be an object {{modality: {{slice: slice}}}}, got {pairs!r}"]
    found = []
    for name, table in pairs.items():
        if name not in modalities or name == own:
            found.append(f"{where} {name!r} is not another modality of {list(modalities)}")
        elif not isinstance(table, Mapping):
            found.append(f"{where} the table to {name} must be an object {{slice: slice}}, got {table!r}")
        elif wrong := [f"{key} -> {value}" for key, value in table.items() if not (_key(key) and _slice(value))]:
            more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            found.append(f"{where} slices to {name} must be whole numbers from 0, got {', '.join(wrong[:5])}{more}")
    return found


def _key(text: object) -> bool:
    # "01" would be "1" a second time
    return isinstance(text, str) and re.fullmatch("0|[1-9][0-9]{0,8}", text) is not None


def _slice(value: object) -> bool:
    return _key(value) or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
