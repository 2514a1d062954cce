# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Give the training items of a datalist folds, or every person a turn in the test section."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monai_mmseg.data.borrowed import has_true_label, without_borrowed
from monai_mmseg.data.datalist import SECTIONS, absolute_item, read_raw, stored_item
from monai_mmseg.data.originals import spare_listed
from monai_mmseg.data.visits import person_of
from monai_mmseg.files import write_json
from monai_mmseg.outputs import check_files, new_files, write_new_json


def assign_folds(items: Iterable[Mapping[str, Any]], folds: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """Give every item a fold, by person: all images of a person, of all visits, are in one fold.

    Args:
        items: flat items.
        folds: how many.
        seed: of the shuffle of the persons.

    Returns:
        Copies of the items with ``fold``, in the same order. Folds differ by at most one person in size, and so do
        their numbers of persons with the same modalities.

    Raises:
        ValueError: if there are fewer persons than folds, or fewer than two folds.

    Examples:
        >>> items = [{"subject": name} for name in "aabbcc"]
        >>> [item["fold"] for item in assign_folds(items, folds=3)]
        [2, 2, 1, 1, 0, 0]
    """
    listed = [dict(item) for item in items]
    persons = sorted({person_of(item) for item in listed})
    if not 2 <= folds <= len(persons):
        raise ValueError(f"folds must lie between 2 and the number of subjects ({len(persons)}), got {folds}.")
    shuffled = [persons[place] for place in np.random.RandomState(seed).permutation(len(persons))]
    have: dict[str, set[str]] = {person: set() for person in persons}
    for item in listed:
        have[person_of(item)].add(str(item.get("modality")))
    # dealt out kind by kind: with 30 CT and 9 MR of different patients every fold gets some of both
    dealt = sorted(shuffled, key=lambda person: sorted(have[person]))
    fold_of = {person: place % folds for place, person in enumerate(dealt)}
    return [{**item, "fold": fold_of[person_of(item)]} for item in listed]


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
        ValueError: if the form of the datalist is wrong, it has too few persons, its own folds would be lost, or `out`
            lies in another folder or is an image.
        OSError: if `out` is there already, or cannot be written.
    """
    raw = _sound(path)
    target = Path(path if out is None else out)
    if target.resolve().parent != Path(path).resolve().parent:
        raise ValueError(f"out must lie in the folder of {path}, since paths in it are relative, got {target}.")
    same = os.path.realpath(target) == os.path.realpath(path)
    if not same:
        spare_listed([target], path)
    items = raw.get("training", [])
    if same and not overwrite and (have := sum("fold" in item for item in items)):
        raise ValueError(
            f"{path}: {have} of {len(items)} training items have folds already; name another file (--out, in the same "
            "folder), or replace them (--overwrite; overwrite=True in Python)."
        )
    raw["training"] = assign_folds(items, folds, seed)
    return write_new_json(target, raw, overwrite=same or overwrite)


class CrossValidation(NamedTuple):
    """What :func:`write_test_folds` wrote."""

    lists: list[Path]
    left_out: list[str]  # persons of the test and validation sections without a label: nothing can be scored


def write_test_folds(
    path: str | Path,
    out: str | Path | None = None,
    *,
    tests: int,
    folds: int = 5,
    seed: int = 0,
    overwrite: bool = False,
) -> CrossValidation:
    """Write a datalist for each turn of a cross-validation, in which every labelled person is tested once.

    When to use: to report a set without a test section of its own, as papers do by 3 or 5 folds. The persons with a
    label that is not borrowed, of all sections, are dealt into test folds; in the k-th list one of them is the section
    ``test``, and the others are ``training`` with folds of their own for validation. So training and evaluation use
    each list as any other. Persons of the training section without such a label train in all of them.

    Args:
        path: the datalist; it stays as it is.
        out: folder that gets ``test0/datalist.json``, ``test1/datalist.json`` and so on; default is that of the list.
        tests: how many test folds.
        folds: how many folds for validation each list has.
        seed: of the shuffles.
        overwrite: whether lists that are there already may be replaced.

    Returns:
        The lists, and who is in none.

    Raises:
        ValueError: if the form of the datalist is wrong, a person is in two sections, or there are too few persons with
            a label of some modality for all test folds, or too few to train for the folds.
        OSError: if a list is there already, there are those of more turns, or one cannot be written.
    """
    raw, root = _sound(path), Path(path).resolve().parent
    listed = {name: [dict(item) for item in raw.get(name, [])] for name in SECTIONS}
    sections: dict[str, str] = {}
    for section, items in listed.items():
        for item in items:
            if (first := sections.setdefault(item["subject"], section)) != section:
                raise ValueError(f"{path}: subject {item['subject']!r} is in {first} and in {section}.")
    everything = [item for items in listed.values() for item in items]
    true = [item for item in everything if has_true_label(item)]
    scored = {item["subject"] for item in true}
    _check_enough(path, true, tests)
    dealt = assign_folds(true, tests, seed)
    turn = {item["subject"]: item["fold"] for item in dealt}
    others = [item for item in listed["training"] if item["subject"] not in scored]
    largest = max(sum(fold == place for fold in turn.values()) for place in range(tests))
    if not 2 <= folds <= (left := len(scored | {item["subject"] for item in others}) - largest):
        raise ValueError(
            f"{path}: {tests} test folds leave {left} subjects to train, which can be dealt into 2 to {left} folds, "
            f"got {folds} (--folds)."
        )
    target = Path(root if out is None else out)
    names = [Path(f"test{place}") / "datalist.json" for place in range(tests)]
    if not overwrite:
        check_files(target, names)
    if (more := target / f"test{tests}" / "datalist.json").exists():
        raise FileExistsError(
            f"{more} is of a cross-validation with more turns, and tests them again; remove it first."
        )
    with new_files(target, overwrite=overwrite) as stage:
        for place, name in enumerate(names):
            mine = [item for item in everything if turn.get(item["subject"]) == place]
            rest = [item for item in everything if turn.get(item["subject"], place) != place]
            content = {
                **{key: value for key, value in raw.items() if key not in SECTIONS},
                "name": f"{raw.get('name', Path(path).stem)}_test{place}",
                "training": assign_folds([*rest, *others], folds, seed),
                "test": [{k: v for k, v in without_borrowed(item).items() if k != "fold"} for item in mine],
            }
            folder = target.resolve() / name.parent
            for section in ("training", "test"):
                content[section] = [stored_item(absolute_item(item, root), folder) for item in content[section]]
            write_json(stage / name, content)
    left_out = [name for name, section in sections.items() if section != "training" and name not in scored]
    return CrossValidation([target / name for name in names], left_out)


def _sound(path: str | Path) -> dict[str, Any]:
    raw, problems = read_raw(path)
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems) + ".")
    return raw


def _check_enough(path: str | Path, labelled: list[dict[str, Any]], tests: int) -> None:
    if tests < 2:
        raise ValueError(f"test must be 2 folds or more, got {tests}.")
    persons: dict[str, set[str]] = {}
    for item in labelled:
        persons.setdefault(item["modality"], set()).add(item["subject"])
    counts = {name: len(them) for name, them in persons.items()}
    if not counts or min(counts.values()) < tests:
        shown = ", ".join(f"{count} of {name}" for name, count in counts.items()) or "none"
        raise ValueError(
            f"{path}: {tests} test folds need at least {tests} subjects with a label of each labelled modality, there "
            f"are {shown}."
        )
