# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Data sets after the Brain Imaging Data Structure (BIDS): anatomical images, labels in derivatives."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from monai_mmseg.files import read_record
from monai_mmseg.preparation.layouts.label_map import LabelMap
from monai_mmseg.preparation.layouts.layout import NIFTI, Case, Layout, check_folder, require
from monai_mmseg.preparation.layouts.rules import (
    Candidate,
    check_labels,
    find_label,
    first_rule,
    label_classes,
    one_of_each,
    plain_name,
    read_rules,
)

_IMAGE = r"(sub-[A-Za-z0-9+]+(?:_[a-z]+-[A-Za-z0-9+]+)*)_([A-Za-z0-9]+)" + NIFTI
_NO_IMAGES = ("defacemask", "dseg", "probseg", "mask")
_ADVICE = "say which is meant by --rule, such as --rule 't1=suffix=T1w&acq~mprage'"


def read_bids(
    folder: str | Path,
    *,
    rule: Sequence[str] | None = None,
    label: str | None = None,
    labels: str | None = None,
    label_of: Sequence[str] | None = None,
) -> Layout:
    """Find the anatomical images of a BIDS data set.

    Sessions become visits. Modalities are named after the suffixes (``T1w`` is ``t1``, ``T2w`` ``t2``, ``T2starw``
    ``t2star``, ``FLAIR`` ``flair``), and ``t1ce`` for a ``T1w`` with the entity ``ce``. A session with two images of
    one modality (``acq``, ``run``, ``rec``) is refused until a rule says which is meant. What ``participants.tsv`` says
    of a person (sex, age, group) becomes ``meta`` of each item.

    Args:
        folder: holds ``sub-01/anat/sub-01_T1w.nii.gz`` or ``sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz``.
        rule: which images are which modality, such as ``"t1=suffix=T1w&acq~mprage"``: an entity (``acq``, ``ce``,
            ``run``, ...) or ``suffix``, then ``=``, ``~`` and a regular expression, ``!~``, or a comparison. Images
            that no rule takes are left out.
        label: path of the label volumes below `folder`, with ``{subject}`` (``sub-01``), ``{visit}`` (``ses-01``),
            ``{stem}`` (the image's name without ending), ``{modality}``, ``{suffix}``, ``{acq}`` and other entities,
            such as ``"derivatives/manual/{subject}/anat/{stem}_dseg.nii.gz"``.
        labels: classes and their values in these files, such as ``"liver=1, spleen=5"``; default is the table
            ``*dseg.tsv`` in the derivatives, if there is one.
        label_of: modalities whose images the labels were drawn on; default is each for which a file is there.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: if there is no such folder, or no such image in it.
        ValueError: if an option cannot be understood, or no label is where `label` says.
    """
    rules = read_rules(rule or [])
    check_folder(folder)
    root, notes = Path(folder).resolve(), list[str]()
    classes = _table(root) if label is not None and labels is None else None
    classes = classes or label_classes(label, labels)
    candidates: list[Candidate] = []
    untaken: list[str] = []
    lost: dict[str, str] = {}
    for path in sorted(path for place in ("sub-*/anat", "sub-*/ses-*/anat") for path in root.glob(f"{place}/*")):
        match = re.fullmatch(_IMAGE, path.name)
        if match is None or match[2] in _NO_IMAGES:
            continue
        facts = dict(part.split("-", 1) for part in match[1].split("_")) | {"suffix": match[2]}
        found = first_rule(rules, partial(_fact, facts)) if rules else (0, _modality(facts))
        subject, visit = f"sub-{facts['sub']}", f"ses-{facts['ses']}" if "ses" in facts else None
        if found is None:
            untaken.append(path.name)
        else:
            candidates.append(Candidate(subject, visit, found[1], found[0], path.name, (path, facts)))
            if not path.exists():
                lost[subject] = (
                    f"{path.name} is a link that leads nowhere; `datalad get` or `git annex get` fetches it."
                )
    require(folder, [*candidates, *untaken], [], "sub-01/anat/sub-01_T1w.nii.gz")
    if untaken:
        notes.append(f"No rule takes {len(untaken)} images: {', '.join(untaken[:10])}{_more(untaken)}.")
    if not candidates:
        raise ValueError(f"{folder}: no rule takes one of the {len(untaken)} images: {', '.join(untaken[:10])}.")
    chosen, broken = one_of_each(candidates, _ADVICE)
    broken = lost | broken
    persons = _participants(root, notes)
    cases: list[Case] = []
    for one in chosen:
        path, facts = one.source
        stem = re.sub(NIFTI + "$", "", path.name)
        fields = {**_ENTITIES, **facts, "modality": one.modality, "stem": stem, "visit": one.visit}
        given = find_label(root, label, {**fields, "subject": one.subject}, label_of)
        if len(given) > 1:
            broken.setdefault(one.subject, f"several labels of {path.name}: {', '.join(p.name for p in given)}")
        meta = persons.get(one.subject)
        cases.append(Case(one.subject, one.modality, path, next(iter(given), None), visit=one.visit, meta=meta))
    order = dict.fromkeys(one.modality for one in rules) if rules else sorted({one.modality for one in candidates})
    modalities = [name for name in order if any(one.modality == name for one in candidates)]
    if label is not None:
        notes += check_labels(root, label, cases, label_of, modalities)
    elif (more := root / "derivatives").is_dir() and (some := next(more.rglob("*.nii*"), None)):
        notes.append(f"Derivatives are not looked at without a pattern for labels; there is {some.relative_to(root)}.")
    cases = [case for case in cases if case.subject not in broken]
    name, licence, citation = _description(root)
    return Layout(
        name, modalities, classes.labels, classes.values, cases, "", licence, citation, notes=notes, broken=broken
    )


_ENTITIES: dict[str, str | None] = dict.fromkeys(
    ["ses", "acq", "ce", "rec", "run", "dir", "echo", "part", "mod", "inv", "mt", "flip", "task", "space", "desc"]
)


def _fact(facts: Mapping[str, str], key: str) -> str:
    if key not in (*_ENTITIES, "sub", "suffix", *facts):
        raise ValueError(f"rule: {key!r} is no entity of BIDS; known are suffix, sub, {', '.join(_ENTITIES)}.")
    return facts.get(key, "")


def _modality(facts: Mapping[str, str]) -> str:
    """Name of a modality: the suffix in small letters without the "w" of "weighted"."""
    suffix = facts["suffix"]
    name = suffix.removesuffix("w").lower()
    return f"{name}ce" if "ce" in facts else name


def _more(names: Sequence[str]) -> str:
    return ", ..." if len(names) > 10 else ""


def _participants(root: Path, notes: list[str]) -> dict[str, dict[str, str]]:
    """What is known of each person, by ``sub-01``; ``n/a`` is left out."""
    path = root / "participants.tsv"
    if not path.is_file():
        return {}
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    except (ValueError, csv.Error) as error:
        notes.append(f"participants.tsv is not read: {error}.")
        return {}
    if not rows or not rows[0].get("participant_id"):
        notes.append("participants.tsv is not read: it has no column participant_id.")
        return {}
    known = {}
    for row in rows:
        about = {key: value for key, value in row.items() if key and value and value.lower() != "n/a"}
        name = about.pop("participant_id", "")
        known[name if name.startswith("sub-") else f"sub-{name}"] = about
    return known


def _table(root: Path) -> LabelMap | None:
    """Classes of the one table of labels that the derivatives have."""
    tables = {path.read_text(encoding="utf-8-sig") for path in sorted(root.glob("derivatives/**/*dseg.tsv"))}
    if len(tables) != 1:
        return None
    rows = list(csv.DictReader(tables.pop().splitlines(), delimiter="\t"))
    found = {int(row["index"]): row["name"] for row in rows if row.get("index", "").isdigit() and row.get("name")}
    values = {value: place for place, value in enumerate(sorted(value for value in found if value), 1)}
    return LabelMap({0: "background", **{values[value]: found[value] for value in values}}, {0: 0, **values})


def _description(root: Path) -> tuple[str, str, str]:
    """Name, licence, and what to cite, as the data set has it."""
    about = read_record(root / "dataset_description.json")
    texts = [str(about.get(key) or "") for key in ("Name", "License", "HowToAcknowledge", "DatasetDOI")]
    return plain_name(texts[0] or root.name), texts[1], "; ".join(filter(None, texts[2:]))
