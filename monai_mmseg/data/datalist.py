# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The one format for data: a flat list of images, each with its modality and subject."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from monai_mmseg.data.annotations import mask_labels
from monai_mmseg.data.borrowed import source_problems
from monai_mmseg.data.label_sets import annotated_problems, unknown_classes
from monai_mmseg.data.pair_tables import pair_problems
from monai_mmseg.data.visits import examination_name, person_of, visit_problems
from monai_mmseg.files import read_json
from monai_mmseg.names import name_problem
from monai_mmseg.unannotated import UNANNOTATED

REQUIRED_KEYS = ("image", "modality", "subject")
OPTIONAL_KEYS = ("label", "label_source", "annotated", "visit", "fold", "pairs", "meta")
SECTIONS = ("training", "validation", "test")
TOP_KEYS = (
    *("name", "modalities", "labels", "ignore", "target", "description", "meta", "licence", "license", "reference"),
    *("release", "relase", "modality", "tensorImageSize", "numTraining", "numTest", "numValidation", *SECTIONS),
)


@dataclass(frozen=True)
class Datalist:
    """A datalist as its file states it; paths are absolute.

    Examples:
        >>> Datalist(Path("a.json"), "a", ["t1"], {0: "background", 1: "liver"}, {"training": []}).items("training")
        []
    """

    path: Path
    name: str
    modalities: list[str]
    labels: dict[int, str]
    sections: dict[str, list[dict[str, Any]]]
    ignore: int | None = None  # value of voxels in labels that were not annotated

    def items(self, section: str) -> list[dict[str, Any]]:
        """All items of ``"training"``, ``"validation"`` or ``"test"``; KeyError without such a section."""
        if section not in self.sections:
            close = [f" Did you mean {name!r}?" for name in get_close_matches(section, self.sections, 1)]
            hint = "".join(close) or " `mmseg data split --test 5` makes lists with one." * (section == "test")
            raise KeyError(f"{self.path}: no section {section!r}, there are {sorted(self.sections)}.{hint}")
        return self.sections[section]

    def select(
        self,
        section: str = "training",
        *,
        fold: int | Sequence[int] | None = None,
        exclude_fold: int | Sequence[int] | None = None,
        modalities: Sequence[str] | None = None,
        labelled: str | None = None,
        with_label: bool = False,
        fraction_of: str | None = None,
        fraction: float = 1.0,
        seed: int = 10,
    ) -> list[dict[str, Any]]:
        """Items for one part of a run: of some folds, some modalities, or with a share of the labels.

        Args:
            section: ``"training"``, ``"validation"`` or ``"test"``.
            fold: keep items of this fold or these folds.
            exclude_fold: drop items of this fold or these folds.
            modalities: keep these modalities only.
            labelled: keep only subjects in which this modality has a label.
            with_label: keep only items that have a label themselves, as where they are scored.
            fraction_of: modality whose labels are dropped for all but `fraction` of the subjects.
            fraction: share of the subjects that keep their label of `fraction_of`; smaller shares are prefixes of
                larger.
            seed: of the draw of those subjects.

        Returns:
            Flat items.

        Raises:
            KeyError: if there is no such section.
            ValueError: if folds are asked for that the items do not have, a modality is not declared, or nothing is
                left of a section that has items.

        Examples:
            >>> items = [{"image": f"{s}/{m}.nii", "label": f"{s}/{m}_l.nii", "modality": m, "subject": s, "fold": f}
            ...          for f, s in enumerate(["s01", "s02"]) for m in ("cine", "lge")]
            >>> listed = Datalist(Path("a.json"), "a", ["cine", "lge"], {0: "background"}, {"training": items})
            >>> kept = listed.select(exclude_fold=0, fraction_of="lge", fraction=0.0)
            >>> [(item["subject"], item["modality"], "label" in item) for item in kept]
            [('s02', 'cine', True), ('s02', 'lge', False)]
        """
        items = self.items(section)
        if fold is not None or exclude_fold is not None:
            items = self._of_folds(items, section, fold, exclude_fold)
        if fraction_of is not None:
            items = mask_labels(items, fraction_of, fraction, seed)
        if labelled is not None:
            subjects = {item["subject"] for item in items if item["modality"] == labelled and item.get("label")}
            items = [item for item in items if item["subject"] in subjects]
        if modalities is not None:
            # a misspelt one would not be missed: its images would be left out
            if undeclared := sorted(set(modalities) - set(self.modalities)):
                raise ValueError(
                    f"modalities must be among those that {self.path} declares, {self.modalities}; got {undeclared}."
                )
            items = [item for item in items if item["modality"] in modalities]
        if with_label:
            items = [item for item in items if item.get("label")]
        if not items and self.items(section):
            raise ValueError(
                f"{self.path}: no item of {section!r} is left for fold={fold}, exclude_fold={exclude_fold}, "
                f"modalities={modalities}, labelled={labelled!r}, with_label={with_label}."
            )
        return items

    def _of_folds(
        self,
        items: list[dict[str, Any]],
        section: str,
        fold: int | Sequence[int] | None,
        exclude_fold: int | Sequence[int] | None,
    ) -> list[dict[str, Any]]:
        if without := [item["image"] for item in items if "fold" not in item]:
            raise ValueError(
                f"{self.path}: folds are asked for, but {len(without)} items of {section!r} have no 'fold' (first: "
                f"{without[0]}); `mmseg data split {self.path}` makes them."
            )
        keep, drop = ([value] if isinstance(value, int) else value for value in (fold, exclude_fold))
        known = sorted({item["fold"] for item in items})
        if missing := [value for value in [*(keep or []), *(drop or [])] if value not in known]:
            raise ValueError(f"{self.path}: no item has fold {missing}, there are {known}.")
        return [item for item in items if (keep is None or item["fold"] in keep) and item["fold"] not in (drop or [])]


def _unknown(names: Iterable[str], known: Sequence[str]) -> list[str]:
    messages = []
    for name in names:
        if name not in known:
            close = get_close_matches(str(name), known, 1)
            messages.append(f"unknown key {name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    return messages


def _check_item(item: Any, where: str, modalities: Sequence[str], labels: Any) -> list[str]:
    if not isinstance(item, Mapping):
        return [f"{where}: an item must be an object, got {type(item).__name__}"]
    problems = [f"{where}: {message}" for message in _unknown(item, (*REQUIRED_KEYS, *OPTIONAL_KEYS))]
    for key in REQUIRED_KEYS:
        value = item.get(key)
        if not isinstance(value, str) or not value:
            problems.append(f"{where}: key {key!r} must be a non-empty string, got {value!r}")
    if "label" in item and (not isinstance(item["label"], str) or not item["label"]):
        problems.append(f"{where}: 'label' must be a path or left out, got {item['label']!r}")
    problems += [f"{where}: {said}" for said in annotated_problems(item, labels) + source_problems(item, where)]
    if "fold" in item and (not isinstance(item["fold"], int) or isinstance(item["fold"], bool) or item["fold"] < 0):
        problems.append(f"{where}: 'fold' must be a number from 0, got {item['fold']!r}")
    if "visit" in item and (not isinstance(item["visit"], str) or not item["visit"]):
        problems.append(f"{where}: 'visit' must be a non-empty string or left out, got {item['visit']!r}")
    for key in ("subject", "visit", "modality"):
        if isinstance(item.get(key), str) and item[key] and (problem := name_problem(item[key])):
            problems.append(f"{where}: {key} {item[key]!r} names files, but it {problem}")
    if isinstance(item.get("modality"), str) and modalities and item["modality"] not in modalities:
        problems.append(f"{where}: modality {item['modality']!r} is not declared, 'modalities' are {list(modalities)}")
    return problems


def label_problem(labels: Mapping[int, str]) -> str | None:
    """Why label values cannot be the classes of a network; ``None`` if they can.

    Use it before training, where the value of a class is its channel; predictions of other tools can be scored with
    gaps in between.

    Args:
        labels: value to name; empty where nothing is labelled.

    Returns:
        A sentence without its full stop.

    Examples:
        >>> label_problem({0: "background", 1: "NCR", 2: "ED"})
        >>> label_problem({0: "background", 1: "NCR", 2: "ED", 4: "ET"})
        "labels must be 0 to 3, got 0, 1, 2, 4: map {4: 3} in the label files and in 'labels'"
    """
    if not labels:
        return None
    values = sorted(labels)
    if values[0] != 0:
        return f"labels must declare 0, the background, got {', '.join(map(str, values))}"
    if moved := {value: place for place, value in enumerate(values) if value != place}:
        got = ", ".join(map(str, values))
        return f"labels must be 0 to {len(values) - 1}, got {got}: map {moved} in the label files and in 'labels'"
    names = list(labels.values())
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"labels must have distinct names, got {twice} more than once"
    return None


def _check_top(raw: Mapping[str, Any]) -> list[str]:
    problems = _unknown(raw, TOP_KEYS)
    modalities = raw.get("modalities", [])
    if not isinstance(modalities, list) or not all(isinstance(name, str) for name in modalities):
        problems.append(f"'modalities' must be a list of names, got {modalities!r}")
        modalities = []
    if len(set(modalities)) != len(modalities):
        problems.append(f"'modalities' must be distinct, got {modalities}")
    for name in modalities:
        if problem := name_problem(name):
            problems.append(f"'modalities': {name!r} names files, but it {problem}")
    labels = raw.get("labels", {})
    if not isinstance(labels, dict) or not all(re.fullmatch("0|[1-9][0-9]{0,8}", str(value)) for value in labels):
        problems.append(f"'labels' must map numbers to names, got {labels!r}")
    elif nameless := [value for value, name in labels.items() if not isinstance(name, str) or not name.strip()]:
        problems.append(f"'labels' must name each value, got {labels[nameless[0]]!r} for {nameless[0]}")
    elif labels and "0" not in {str(value) for value in labels}:
        problems.append("'labels' must declare 0, the background")
    if raw.get("ignore") not in (None, UNANNOTATED):
        problems.append(
            f"'ignore' must be {UNANNOTATED}, the value of voxels that were not annotated, got {raw['ignore']!r}: map "
            "it in the label files"
        )
    elif raw.get("ignore") is not None and isinstance(labels, dict) and str(UNANNOTATED) in labels:
        problems.append(f"'ignore' and 'labels' both have {UNANNOTATED}: a value is a class or not annotated")
    if not any(section in raw for section in SECTIONS):
        problems.append(f"one of the sections {list(SECTIONS)} is needed")
    return problems


def read_raw(path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Content of a datalist file and a message for everything that is wrong with its form, not with what it names.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON object, or gives one key twice.
    """
    if not Path(path).is_file():
        what = "a datalist is a JSON file, got a folder" if Path(path).is_dir() else "no such datalist"
        raise FileNotFoundError(f"{path}: {what}.")
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: a datalist must be a JSON object, got {type(raw).__name__}.")
    problems = _check_top(raw)
    modalities = raw.get("modalities", [])
    known = [name for name in modalities if isinstance(name, str)] if isinstance(modalities, list) else []
    for section in SECTIONS:
        items = raw.get(section, [])
        if not isinstance(items, list):
            problems.append(f"{section}: must be a list of items, got {type(items).__name__}")
            continue
        for number, item in enumerate(items):
            problems += _check_item(item, f"{section}[{number}]", known, raw.get("labels"))
    items = [item for section in SECTIONS for item in _listed(raw.get(section))]
    names = known or [item["modality"] for item in items if isinstance(item.get("modality"), str)]
    problems += [problem for item in items for problem in pair_problems(item, list(dict.fromkeys(names)))]
    return raw, list(dict.fromkeys(problems + visit_problems(items)))


def _listed(items: Any) -> list[Mapping[str, Any]]:
    """Items of a section that may be anything, as far as they can be told apart."""
    objects = [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    return [item for item in objects if all(isinstance(item.get(key, ""), str) for key in ("subject", "visit"))]


def read_datalist(path: str | Path) -> Datalist:
    """Read and check a datalist.

    Use it for everything beside the items: names of modalities and labels. The files it names are not opened; see
    :func:`~monai_mmseg.preparation.check_datalist` for that.

    Args:
        path: JSON file; the paths in it are relative to its folder.

    Returns:
        The datalist with absolute paths. An item with a ``visit`` has ``subject_visit`` as its subject, and the subject
        of the file as ``person``. Names are left as they are otherwise (MONAI's ``load_decathlon_datalist`` turns
        every string that happens to be a path into one).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if its form is wrong; the message lists every problem.
    """
    raw, problems = read_raw(path)
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems) + ".")
    root = Path(path).resolve().parent
    sections = {
        section: [absolute_item(item, root, raw) for item in raw[section]] for section in SECTIONS if section in raw
    }
    everything = [item for items in sections.values() for item in items]
    labels = {int(value): str(name) for value, name in sorted(raw.get("labels", {}).items(), key=lambda x: int(x[0]))}
    if any("unknown" in item for item in everything):  # a batch has it for all of its labels
        for item in [one for one in everything if "label" in one]:
            item.setdefault("unknown", [False] * (max(labels, default=0) + 1))
    modalities = raw.get("modalities") or list(dict.fromkeys(item["modality"] for item in everything))
    return Datalist(
        Path(path), str(raw.get("name", Path(path).stem)), list(modalities), labels, sections, raw.get("ignore")
    )


def absolute_item(item: Mapping[str, Any], root: Path, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Copy of an item of a file in the folder `root`, with absolute paths.

    Every visit is a subject of its own from here on, ``subject_visit``; ``person`` tells which belong together. What
    the datalist, whose `content` is given, ignores in labels goes with each label, as ``ignore``; of a label that shows
    some classes only (``annotated``) also ``unknown``, a bool for each class.
    """
    paths: dict[str, Any] = {key: str(root / item[key]) for key in ("image", "label") if isinstance(item.get(key), str)}
    if content is not None and "label" in paths:
        paths |= {} if content.get("ignore") is None else {"ignore": content["ignore"]}
        if unknown := unknown_classes(item.get("annotated"), content.get("labels")):
            paths["unknown"] = unknown
    if not item.get("visit"):
        return {**item, **paths}
    person = item["subject"]
    return {**item, **paths, "subject": examination_name(person, item["visit"]), "person": person}


def stored_item(item: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Copy of an item that was read, as it stands in a file in the folder `root`: what :func:`absolute_item` undoes.

    Examples:
        >>> item = {"image": "a.nii", "modality": "ct", "subject": "p1", "visit": "2"}
        >>> stored_item(absolute_item(item, Path("/data")), Path("/data/new"))
        {'image': '../a.nii', 'modality': 'ct', 'subject': 'p1', 'visit': '2'}
    """
    paths = {key: Path(os.path.relpath(item[key], root)).as_posix() for key in ("image", "label") if key in item}
    kept = {key: value for key, value in item.items() if key not in ("person", "ignore", "unknown")}
    return {**kept, **paths, "subject": person_of(item)}


def load_datalist(path: str | Path, section: str = "training", **selection: Any) -> list[dict[str, Any]]:
    """Flat items of one section of a file, or some of them.

    Args:
        path: the datalist.
        section: ``"training"``, ``"validation"`` or ``"test"``.
        **selection: which of them, as for :meth:`Datalist.select`.

    Returns:
        Items with absolute paths.
    """
    return read_datalist(path).select(section, **selection)


def group_by_subject(
    items: Iterable[Mapping[str, Any]], modalities: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """One item for each subject, with a mapping from modality to file.

    Args:
        items: flat items.
        modalities: names to keep, in this order; a subject with none of them is left out. ``None`` keeps all.

    Returns:
        ``{"subject", "image": {modality: path}, "label": {modality: path}}`` in order of first appearance; the key
        ``label`` is always there, maybe empty. Also ``person`` of a visit, ``ignore`` of labels, and, where there are
        any, by the modality whose item has them, ``pairs`` and ``unknown`` classes of a label.

    Raises:
        ValueError: if a subject has two images of one modality.

    Examples:
        >>> items = [{"image": "a.nii", "modality": "t1", "subject": "s1"},
        ...          {"image": "b.nii", "label": "c.nii", "modality": "t2", "subject": "s1"}]
        >>> group_by_subject(items)
        [{'subject': 's1', 'image': {'t1': 'a.nii', 't2': 'b.nii'}, 'label': {'t2': 'c.nii'}}]
    """
    groups: dict[str, dict[str, Any]] = {}
    for item in items:
        modality = item["modality"]
        if modalities is not None and modality not in modalities:
            continue
        person = {"person": item["person"]} if "person" in item else {}  # of visits
        group = groups.setdefault(item["subject"], {"subject": item["subject"], **person, "image": {}, "label": {}})
        if modality in group["image"]:
            raise ValueError(
                f"subject {item['subject']!r} has two images of modality {modality!r}: {group['image'][modality]} and "
                f"{item['image']}."
            )
        group["image"][modality] = item["image"]
        if item.get("label"):
            group["label"][modality] = item["label"]
            group |= {"ignore": item["ignore"]} if "ignore" in item else {}
            if "unknown" in item:
                group.setdefault("unknown", {})[modality] = item["unknown"]
        if item.get("pairs"):
            group.setdefault("pairs", {})[modality] = item["pairs"]
    order = list(modalities) if modalities is not None else None
    for group in groups.values():
        if order is not None:
            for key in ("image", "label"):
                group[key] = {name: group[key][name] for name in order if name in group[key]}
    return list(groups.values())
