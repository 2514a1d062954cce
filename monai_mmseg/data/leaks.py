# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What would let a network see in training what it is tested on."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any


def find_leaks(sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Persons in two folds or sections, and files that are named twice.

    Use it before a run. No file is opened; links and other spellings of a path are seen through. An item's ``person``
    is who was examined; where it is left out, its ``subject`` is.

    Args:
        sections: section to flat items with absolute paths, as :attr:`~monai_mmseg.data.Datalist.sections`.

    Returns:
        A message for each leak; empty where there is none.

    Examples:
        >>> item = {"image": "/no/a.nii", "modality": "ct", "subject": "s1"}
        >>> find_leaks({"training": [item], "test": [{**item, "image": "/no/b.nii"}]})
        ["subject 's1' is in several sections: ['test', 'training']"]
        >>> find_leaks({"training": [item, {**item, "subject": "s2", "image": "/no/x/../a.nii"}]})
        ['/no/a.nii is named 2 times (also as /no/x/../a.nii)']
        >>> visits = [{"image": f"/no/{n}.nii", "modality": "ct", "subject": f"p_{n}", "person": "p"} for n in "ab"]
        >>> find_leaks({"training": visits[:1], "test": visits[1:]})
        ["person 'p' is in several sections: ['test', 'training']"]
    """
    folds: dict[str, set[Any]] = defaultdict(set)
    places: dict[str, set[str]] = defaultdict(set)
    nouns: dict[str, str] = defaultdict(lambda: "subject")
    for section, items in sections.items():
        for item in items:
            person = item.get("person", item["subject"])
            if person != item["subject"]:  # one of several visits
                nouns[person] = "person"
            places[person].add(section)
            if section == "training":
                folds[person].add(item.get("fold"))
    found = [
        f"{nouns[person]} {person!r} is in several folds: {sorted(map(str, values))}"
        for person, values in folds.items()
        if len(values) > 1
    ]
    found += [
        f"{nouns[person]} {person!r} is in several sections: {sorted(names)}"
        for person, names in places.items()
        if len(names) > 1
    ]
    return found + _named_twice([item for items in sections.values() for item in items])


def _named_twice(items: Sequence[Mapping[str, Any]]) -> list[str]:
    named: dict[Hashable, list[str]] = defaultdict(list)
    for item in items:
        named[file_key(item["image"])].append(str(item["image"]))
    # sequences that lie on one grid share one label file, as those of a BraTS subject do
    labels = {
        (item["subject"], os.path.realpath(item["label"])): str(item["label"])
        for item in items
        if isinstance(item.get("label"), str)
    }
    for label in labels.values():
        named[file_key(label)].append(label)
    messages = []
    for paths in named.values():
        if len(paths) > 1:
            others = [path for path in dict.fromkeys(paths) if path != paths[0]]
            also = f" (also as {', '.join(others)})" if others else ""
            messages.append(f"{paths[0]} is named {len(paths)} times{also}")
    return messages


def subjects_of_one_label(items: Sequence[Mapping[str, Any]], first: str, second: str) -> list[str]:
    """Subjects whose images of two modalities have one label file: what is made of the one is scored against itself.

    Args:
        items: flat items with absolute paths.
        first: a modality.
        second: another one.

    Examples:
        >>> items = [{"image": m, "modality": m, "subject": "s1", "label": "/no/l.nii"} for m in ("t1", "t2")]
        >>> subjects_of_one_label(items, "t1", "t2")
        ['s1']
    """
    labels: dict[str, dict[str, Hashable]] = {}
    for item in items:
        if item["modality"] in (first, second) and item.get("label"):
            labels.setdefault(str(item["subject"]), {})[item["modality"]] = file_key(str(item["label"]))
    return [subject for subject, one in labels.items() if len(one) == 2 and one[first] == one[second]]


def file_key(path: str) -> Hashable:
    """One value for all names of a file: links, spellings, letter case where it does not count.

    Args:
        path: absolute path; the file need not be there.

    Examples:
        >>> file_key("/no/x/../a.nii") == file_key("/no/a.nii")
        True
    """
    if path.lower().endswith(".img"):  # half of an image, whose other half is its header
        path = path[:-4] + (".HDR" if path.endswith(".IMG") else ".hdr")
    try:
        known = os.stat(path)
    except (OSError, ValueError):  # not there, a link in a circle, a NUL in the name
        return os.path.realpath(path) if "\0" not in path else path
    return (known.st_dev, known.st_ino) if known.st_ino else os.path.realpath(path)
