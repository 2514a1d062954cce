# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Join datalists: unpaired methods train on images of several data sets at once."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.data.datalist import Datalist, read_datalist, read_raw
from monai_mmseg.data.label_sets import order_advice
from monai_mmseg.data.originals import spare_listed
from monai_mmseg.data.visits import visit_problems
from monai_mmseg.outputs import check_output_file, write_new_json
from monai_mmseg.preparation.check import examine_form, examine_volumes, stop_at_errors

logger = logging.getLogger(__name__)

_FILES = ("image", "label")
_TEXTS = ("reference", "licence", "description")


def merge_datalists(paths: Sequence[str | Path], out: str | Path, *, overwrite: bool = False) -> Path:
    """Write one datalist with the items of several; images and labels stay where they are.

    What comes of it is checked as :func:`~monai_mmseg.preparation.check_datalist` does, before it is written; warnings
    are logged. A subject of one name in two lists is taken for one person if the lists have other modalities (or
    visits) of it, which is logged too. A list may declare fewer classes than another if values agree: its items get
    ``annotated``. What is said about the lists is kept: texts (reference, licence, description) and entries of ``meta``
    once where they agree, else by the name of the list; a ``target`` where they agree.

    Args:
        paths: JSON files, two or more; modalities and sections are joined in their order.
        out: JSON file to write; paths in it are relative to its folder.
        overwrite: whether a file that is there already may be replaced.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if a datalist is not there.
        ValueError: if one list is named twice, their labels contradict each other, two of them have the same modality
            of a subject, something in them is broken, or `out` is one of them or of their files.
        OSError: if `out` is there already, or cannot be written.
    """
    if len(paths) < 2:
        raise ValueError(f"lists must name two datalists or more, got {list(map(str, paths))}.")
    places = [Path(path).resolve() for path in paths]
    if twice := sorted({str(path) for path in places if places.count(path) > 1}):
        raise ValueError(f"lists must be different files, got {', '.join(twice)} more than once.")
    check_output_file(out, overwrite=overwrite)
    spare_listed([Path(out)], *paths)
    parts = [read_datalist(path) for path in paths]
    labels = _joined_labels(parts)
    contents = [read_raw(path)[0] for path in paths]
    _check_subjects(contents, parts)
    sections = {
        section: [
            _absolute(item, place.parent, part.labels if part.labels != labels else {})
            for one, part, place in zip(contents, parts, places, strict=True)
            for item in one.get(section, [])
        ]
        for section in dict.fromkeys(section for part in parts for section in part.sections)
    }
    if problems := visit_problems(item for items in sections.values() for item in items):
        raise ValueError(f"{', '.join(map(str, paths))}: {'; '.join(problems)}.")
    content = {
        "name": "_".join(dict.fromkeys(part.name for part in parts)),
        "modalities": list(dict.fromkeys(name for part in parts for name in part.modalities)),
        "labels": {str(value): name for value, name in labels.items()},
        **({} if (ignore := next((one.ignore for one in parts if one.ignore), None)) is None else {"ignore": ignore}),
        **_heads(contents, parts),
    }
    report, entries = examine_form({**content, **sections}, [], Path(out))
    examine_volumes(report, entries)
    stop_at_errors(report, ", ".join(map(str, paths)))
    root = Path(out).resolve().parent
    relative = {section: [_relative(item, root) for item in items] for section, items in sections.items()}
    path = write_new_json(out, {**content, **relative}, overwrite=overwrite)
    if path.name != "datalist.json":
        logger.warning("%s: `mmseg plan` and bundles look for a file called datalist.json.", path)
    return path


def _heads(contents: Sequence[Mapping[str, Any]], parts: Sequence[Datalist]) -> dict[str, Any]:
    """What the lists say about themselves, joined."""
    names = [part.name for part in parts]
    names = names if len(set(names)) == len(names) else [str(part.path) for part in parts]
    listed = list(zip(names, contents, strict=True))
    head: dict[str, Any] = {}
    for key in _TEXTS:
        spelt = (key, "license") if key == "licence" else (key,)
        said = {name: str(one[k]) for name, one in listed for k in spelt if one.get(k)}
        if said:
            same = len(said) == len(parts) and len(set(said.values())) == 1
            head[key] = said[names[0]] if same else "; ".join(f"{name}: {text}" for name, text in said.items())
    entries: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, one in listed:
        about = one.get("meta", {})
        for key, value in about.items() if isinstance(about, Mapping) else [("meta", about)]:
            entries[key][name] = value
    if entries:
        head["meta"] = {key: _agreed(values) or values for key, values in entries.items()}
    targets = {name: one["target"] for name, one in listed if one.get("target")}
    if target := _agreed(targets):
        head["target"] = target
    elif targets:
        logger.warning("no target is kept, the lists have different ones: %s", targets)
    return head


def _agreed(values: Mapping[str, Any]) -> Any:
    """The one value that all have, or nothing."""
    each = list(values.values())
    return each[0] if each and all(one == each[0] for one in each) else None


def _absolute(item: Mapping[str, Any], folder: Path, shown: Mapping[int, str]) -> dict[str, Any]:
    """Item with absolute paths, and the classes that its list declares where they are not all."""
    annotated = {"annotated": [name for value, name in shown.items() if value]} if shown and "label" in item else {}
    return {**annotated, **item, **{key: str(folder / item[key]) for key in _FILES if key in item}}


def _relative(item: Mapping[str, Any], root: Path) -> dict[str, Any]:
    return {**item, **{key: Path(os.path.relpath(item[key], root)).as_posix() for key in _FILES if key in item}}


def _joined_labels(parts: Sequence[Datalist]) -> dict[int, str]:
    """Classes of all lists: a list may lack some, whose organs nobody looked for in its images."""
    labels = dict(parts[0].labels)
    for part in parts[1:]:
        first = parts[0]
        if set(part.labels.values()) == set(labels.values()) or not (part.labels and labels):
            _check_labels(part, first)
        taken = {name: value for value, name in labels.items()}
        for value, name in part.labels.items():
            if labels.get(value, name) != name or taken.get(name, value) != value:
                _check_labels(part, first)
        labels |= part.labels
    for part in parts:
        if lacking := [name for value, name in sorted(labels.items()) if value not in part.labels]:
            logger.warning(
                "%s does not declare %s: in its images they are neither taught nor scored, as nobody looked for them",
                part.path,
                ", ".join(lacking),
            )
    return dict(sorted(labels.items()))


def _check_labels(part: Datalist, first: Datalist) -> None:
    if part.labels == first.labels:
        return
    both = f"labels must be the same in all lists, got {part.labels} in {part.path} and {first.labels} in {first.path}"
    here, there = set(part.labels.values()), set(first.labels.values())
    if here == there and (advice := order_advice(part.labels, first.labels)):
        raise ValueError(f"{both}: they are in another order; {advice}.")
    lacks = ", ".join(
        f"{path} lacks {sorted(names)}"
        for path, names in ((part.path, there - here), (first.path, here - there))
        if names
    )
    raise ValueError(
        f"{both}: {lacks}, and one value means two classes. Import both with all classes in one order, --labels "
        '"liver=1, spleen=none" for a class that nobody drew.'
    )


def _check_subjects(contents: Sequence[Mapping[str, Any]], parts: Sequence[Datalist]) -> None:
    """Refuse subjects of which two lists have the same images; say which have others."""
    owned: dict[str, dict[Path, list[tuple[Any, str]]]] = defaultdict(lambda: defaultdict(list))
    for content, part in zip(contents, parts, strict=True):
        for section in part.sections:
            for item in content[section]:
                owned[item["subject"]][part.path].append((item.get("visit"), item["modality"]))
    for subject, lists in owned.items():
        places = list(lists)
        for place, path in enumerate(places):
            for other in places[:place]:
                if set(lists[path]) & set(lists[other]):
                    raise ValueError(
                        f"subject {subject!r} is in {other} and in {path}; if they are two persons, give them two "
                        "names."
                    )
        if len(places) > 1:
            where = " and ".join(f"{', '.join(modality for _, modality in lists[path])} in {path}" for path in places)
            logger.warning("subject %r is taken for one person: %s; two persons need two names", subject, where)
