# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Who and what a case of nnU-Net is an image of: its name says it, or a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from monai_mmseg.preparation.layouts.described import modality_name
from monai_mmseg.preparation.layouts.path_pattern import path_pattern


class CaseName(NamedTuple):
    """What the name of a case stands for."""

    subject: str
    modality: str | None = None  # None: that of the channel
    visit: str | None = None


def case_namer(case: str | None, modality_from: str | None, folder: Path) -> Callable[[str], CaseName]:
    """A function from the name of a case to what it stands for.

    Args:
        case: pattern of the names, such as ``"{subject}_{visit}"``; ``None``: each name is a subject.
        modality_from: ``"ct=^ct_, mr=^mr_"``, modalities with regular expressions that find them in a name; or a CSV
            file with the columns ``case`` and ``modality``, and maybe ``subject`` and ``visit``.
        folder: where a CSV file may lie, too.

    Returns:
        The function; it raises ValueError for a name that does not fit, or fits two modalities.

    Raises:
        FileNotFoundError: if the CSV file is not there.
        ValueError: if a pattern cannot be read.

    Examples:
        >>> case_namer("{subject}_{visit}", "ct=CT, mr=MR", Path())("MR001_2")
        CaseName(subject='MR001', modality='mr', visit='2')
    """
    if modality_from is not None and modality_from.lower().endswith(".csv"):
        if case is not None:
            raise ValueError(f"case {case!r} and the table {modality_from} both say what a case is; give one of them.")
        return _from_table(modality_from, folder)
    pattern = None if case is None else path_pattern(case)
    rules = {} if modality_from is None else _rules(modality_from)

    def name_case(name: str) -> CaseName:
        match = None if pattern is None else pattern.fullmatch(name)
        if pattern is not None and match is None:
            raise ValueError(f"case {name!r} does not fit the pattern {case!r}.")
        found = match.groupdict() if match is not None else {"subject": name}
        kinds = [modality for modality, rule in rules.items() if rule.search(name)]
        if rules and len(kinds) != 1:
            fits = f"fits {' and '.join(kinds)}" if kinds else "fits none"
            raise ValueError(f"case {name!r} {fits} of the modalities {modality_from!r}; each must fit one.")
        modality = kinds[0] if kinds else found.get("modality")
        return CaseName(found["subject"], modality and modality_name(modality), found.get("visit"))

    return name_case


def _rules(text: str) -> dict[str, re.Pattern[str]]:
    rules: dict[str, re.Pattern[str]] = {}
    for entry in re.split(r",\s*(?=[\w.+-]+\s*=)", text):  # an expression may hold commas
        name, equals, expression = (part.strip() for part in entry.partition("="))
        if not (name and equals and expression) or name in rules:
            raise ValueError(f"modality_from must be like 'ct=^ct_, mr=^mr_' or a CSV file, got {text!r}.")
        try:
            rules[name] = re.compile(expression)
        except re.error as error:
            raise ValueError(f"modality_from: {expression!r} is no regular expression ({error}).") from error
    return rules


def _from_table(path: str, folder: Path) -> Callable[[str], CaseName]:
    place = next((one for one in (folder / path, Path(path)) if one.is_file()), None)
    if place is None:
        raise FileNotFoundError(f"{path}: no such file, neither here nor in {folder}.")
    with place.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if not {"case", "modality"} <= set(columns):
            raise ValueError(f"{place}: the first line must name the columns case and modality, got {list(columns)}.")
        rows = list(reader)
    table: dict[str, CaseName] = {}
    for row in rows:
        about = CaseName(row.get("subject") or row["case"], row["modality"] or None, row.get("visit") or None)
        if table.setdefault(row["case"], about) != about:
            raise ValueError(f"{place}: case {row['case']!r} is there twice.")

    def name_case(name: str) -> CaseName:
        if name not in table:
            raise ValueError(f"case {name!r} is not in {place}.")
        return table[name]

    return name_case
