# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Classes of data sets, value to name: those of public sets and the phantom, and which of them a label shows."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
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


def order_advice(listed: Mapping[int, str], other: Mapping[Any, str]) -> str:
    """What brings the classes of a datalist into the order of other ones, for a message; empty if nothing has to move.

    Args:
        listed: its labels, value to name.
        other: those of a list, a model or a caller; names that one of them lacks are fine.

    Examples:
        >>> order_advice({1: "LV", 2: "RV"}, {1: "RV", 2: "LV", 3: "atrium"})
        "map {1: 2, 2: 1} in the label files and in 'labels' of it"
        >>> order_advice({1: "LV", 2: "RV"}, {1: "left ventricle", 2: "RV"})
        ''
    """
    values = {name: int(value) for value, name in other.items()}
    table = {value: values[name] for value, name in listed.items() if values.get(name, value) != value}
    return f"map {table} in the label files and in 'labels' of it" if table else ""


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
        If the list is, map {2: 1} in the label files and in 'labels' of it.
    """
    if advice := order_advice(listed, other):
        values = {name: value for value, name in listed.items()}
        moved = [name for value, name in other.items() if values.get(name, int(value)) != int(value)]
        raise ValueError(
            f"{path}: its labels are {dict(listed)}, but here {', '.join(moved)} has another value, {dict(other)}; "
            f"which is right?\nIf the list is, {advice}."
        )


def annotated_problems(item: Mapping[str, Any], labels: Any) -> list[str]:
    """What is wrong with the classes that a label is said to show.

    Args:
        item: of a datalist's file, maybe with ``annotated``.
        labels: of the file, value to name.

    Returns:
        Sentences without their full stop; none if nothing is wrong.

    Examples:
        >>> annotated_problems({"label": "a.nii", "annotated": ["livr"]}, {"0": "background", "1": "liver"})
        ["'annotated' names 'livr', which 'labels' does not declare: did you mean 'liver'?"]
    """
    if "annotated" not in item:
        return []
    given = item["annotated"]
    known = [name for value, name in labels.items() if str(value) != "0"] if isinstance(labels, Mapping) else []
    if not isinstance(given, list) or not given or len({str(name) for name in given}) != len(given):
        return [f"'annotated' must list the classes that the label shows, each once, or be left out, got {given!r}"]
    problems = [] if item.get("label") else ["'annotated' tells of a label, and there is none"]
    for name in given:
        if name not in known:
            close = get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {known}"
            problems.append(f"'annotated' names {name!r}, which 'labels' does not declare: {hint}")
    return problems


def unknown_classes(annotated: Any, labels: Any) -> list[bool] | None:
    """For each value whether it is a class that a label cannot show.

    Args:
        annotated: names of the classes that it shows; anything else stands for all.
        labels: of the datalist's file, value to name.

    Returns:
        Bools from value 0 on; ``None`` if the label shows all classes.

    Examples:
        >>> unknown_classes(["liver"], {"0": "background", "1": "liver", "2": "spleen"})
        [False, False, True]
    """
    if not isinstance(annotated, list) or not isinstance(labels, Mapping):
        return None
    hidden = {int(value) for value, name in labels.items() if str(value).isdecimal() and name not in annotated} - {0}
    unknown = [value in hidden for value in range(max(map(int, filter(str.isdecimal, labels)), default=0) + 1)]
    return unknown if any(unknown) else None
