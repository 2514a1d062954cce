# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Several visits of one person: each is a subject of its own, but they are never parted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monai_mmseg.names import name_problem


def examination_name(person: str, visit: str | None) -> str:
    """What a visit of a person is called wherever examinations are told apart.

    Args:
        person: ``subject`` of an item in a file.
        visit: its ``visit``, if it has one.

    Returns:
        The name.

    Examples:
        >>> examination_name("p1", None), examination_name("p1", "2019")
        ('p1', 'p1_2019')
    """
    return f"{person}_{visit}" if visit else person


def person_of(item: Mapping[str, Any]) -> str:
    """Who was examined: what folds, sections and shares of labels must not part.

    Args:
        item: as it stands in a file, or as it was read.

    Returns:
        The name of the person.

    Examples:
        >>> person_of({"subject": "p1"}), person_of({"subject": "p1_2019", "visit": "2019", "person": "p1"})
        ('p1', 'p1')
    """
    return str(item.get("person", item["subject"]))


def visit_problems(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Examinations of different persons that would have one name, or a name that is too long.

    Args:
        items: as they stand in a file.

    Returns:
        A sentence without its full stop for each.

    Examples:
        >>> visit_problems([{"subject": "p1", "visit": "2"}, {"subject": "p1_2"}])
        ["subject 'p1' visit '2' and subject 'p1_2' would both be called 'p1_2'"]
    """
    owner: dict[str, tuple[str, str]] = {}
    problems = []
    for item in items:
        person, visit = item.get("subject", ""), item.get("visit", "")
        name = examination_name(person, visit)
        first = owner.setdefault(name, (person, visit))
        if first != (person, visit):
            both = " and ".join(
                f"subject {one!r}" + (f" visit {two!r}" if two else "") for one, two in (first, (person, visit))
            )
            problems.append(f"{both} would both be called {name!r}")
        elif visit and not name_problem(person) and (problem := name_problem(name)):
            problems.append(f"subject and visit together, {name!r}, name files, but that {problem}")
    return problems
