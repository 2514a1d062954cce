# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Classes of this project's data sets, as integer value to name; readers of public sets and the phantom share them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ABDOMEN_LABELS = {0: "background", 1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
BTCV_LABELS = {
    **ABDOMEN_LABELS,
    5: "gallbladder",
    6: "oesophagus",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "portal and splenic vein",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}

CARDIAC_LABELS = {0: "background", 1: "LV myocardium", 2: "left atrium", 3: "LV blood", 4: "ascending aorta"}
WHOLE_HEART_LABELS = {**CARDIAC_LABELS, 5: "right atrium", 6: "RV blood", 7: "pulmonary artery"}

HEART_LABELS = {0: "background", 1: "LV", 2: "myocardium", 3: "RV"}
TUMOUR_LABELS = {0: "background", 1: "necrosis", 2: "oedema", 3: "enhancing tumour"}


def check_class_order(path: str | Path, listed: Mapping[int, str], other: Mapping[Any, str]) -> None:
    """Refuse classes that a datalist knows by other values: scores would stand beside the wrong names.

    Args:
        path: the datalist, for the message.
        listed: its labels, value to name.
        other: those of a model or a caller; names that the list does not have are fine.

    Raises:
        ValueError: if a name has two values.

    Examples:
        >>> check_class_order("a.json", {1: "LV", 2: "RV"}, {1: "left ventricle", 2: "RV"})
        >>> check_class_order("a.json", {1: "LV", 2: "RV"}, {1: "RV"})
        Traceback (most recent call last):
        ValueError: a.json: its labels are {1: 'LV', 2: 'RV'}, but here RV has another value, {1: 'RV'}; which is right?
    """
    values = {name: value for value, name in listed.items()}
    if moved := [name for value, name in other.items() if values.get(name, int(value)) != int(value)]:
        raise ValueError(
            f"{path}: its labels are {dict(listed)}, but here {', '.join(moved)} has another value, {dict(other)}; "
            "which is right?"
        )
