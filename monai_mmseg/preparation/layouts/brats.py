# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""BraTS, from 2017 on: brain tumours in T1, T1 with contrast agent, T2 and FLAIR on one grid."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from monai_mmseg.data.label_sets import TUMOUR_LABELS
from monai_mmseg.preparation.layouts.layout import NIFTI, Case, Layout, find_files, label_table, require
from monai_mmseg.preparation.layouts.steps import KeepSlices

MODALITIES = ("t1", "t1gd", "t2", "flair")
_NAMES = {"t1ce": "t1gd", "t1n": "t1", "t1c": "t1gd", "t2w": "t2", "t2f": "flair"}
_IMAGE = r"((?i:brats).*?)[_-](t1ce|t1n|t1c|t2w|t2f|t1|t2|flair|seg)" + NIFTI
_ODD_LABEL = r".*_Segm" + NIFTI  # W39_1998.09.19_Segm.nii in the folder of BraTS20_Training_355

_REGIONS = {"whole": (1, 2, 3), "core": (1, 3), "enhancing": (3,)}


class _Exam(NamedTuple):
    subject: str
    visit: str | None
    new: bool  # names and label values of 2023 on
    cavity: bool  # after treatment: 4 is the cavity that surgery left


def read_brats(folder: str | Path, *, classes: str = "tissues", slices: str | None = None) -> Layout:
    """Find the subjects of BraTS 2017 to 2024, wherever they lie in a folder.

    Enhancing tumour is 4 in the files until 2021 and 3 from 2023 on; by the names of the files it is known which. So a
    3 in an old file, or a 4 in a new one, is an error when the labels are written. After treatment (2024, third number
    of the name 100 or more), 4 is a resection cavity, a class of its own.

    Args:
        folder: holds ``HGG/Brats18_X_1/Brats18_X_1_t1.nii.gz``, ``BraTS20_Training_001/BraTS20_Training_001_t2.nii``,
            ``BraTS2021_00000_t1ce.nii.gz`` or ``BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz``, with ``seg`` for
            the label.
        classes: tissues (necrosis, oedema, enhancing tumour), or one of the challenge's regions as the only class:
            whole (all of them), core (all but oedema), enhancing.
        slices: axial slices that are kept, such as 50-104, counted from 0, both ends included; without it, all.
            Ouyang et al., IPMI 2021, took 50-104 for training on slices and 45-108 for volumes.

    Returns:
        The data set, modalities ``t1``, ``t1gd``, ``t2`` and ``flair``, each with the label of the subject. A sequence
        that is not there is left out. Subjects below a folder of validation or test are ``test``, and so are all, if
        none has a label; any other subject without label is broken.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if an option is wrong, a file is there twice, or labels have another meaning (children's tumours).
    """
    if classes not in ("tissues", *_REGIONS):
        raise ValueError(f"classes must be one of {['tissues', *_REGIONS]}, got {classes!r}.")
    steps = [] if slices is None else [_slices(slices)]
    notes = [] if slices is None else [f"Axial slices {slices} are kept, counted from 0."]
    images, labels = _find(Path(folder), notes)
    exams = {name: _exam(name) for name in sorted({*images, *labels})}
    if len({exam.new for exam in exams.values()}) > 1:
        raise ValueError(
            f"{folder} holds sets until 2021 and from 2023 on, which share their subjects; give one of them."
        )
    broken = {exams[name].subject: f"{labels[name]} has no image." for name in exams if name not in images}
    cases = []
    for name, found in sorted(images.items()):
        exam, path = exams[name], next(iter(found.values())).relative_to(folder)
        test = not labels or re.search(r"valid|(?<![a-z])test", str(path).lower()) is not None
        if name not in labels and not test:
            broken[exam.subject] = f"{name} has no label."
            continue
        if lost := [one for one in MODALITIES if one not in found]:
            notes.append(f"{name} has no {' and no '.join(lost)}.")
        cases += [
            Case(exam.subject, one, found[one], labels.get(name), "test" if test else "training", exam.visit)
            for one in MODALITIES
            if one in found
        ]
    cases = [case for case in cases if case.subject not in broken]
    if not broken:
        require(folder, cases, [], "BraTS20_Training_001/BraTS20_Training_001_flair.nii.gz")
    enhancing = 3 if any(exam.new for exam in exams.values()) else 4
    cavity = any(exam.cavity for exam in exams.values())
    names, values = _classes(classes, enhancing, cavity)
    return Layout(
        "brats",
        [one for one in MODALITIES if any(case.modality == one for case in cases)],
        names,
        values,
        cases,
        "https://www.synapse.org/brats",
        licence="as the owners' site says",
        citation="Menze et al., IEEE TMI 34(10), 2015, doi:10.1109/TMI.2014.2377694; Bakas et al., Scientific Data 4, "
        "2017, doi:10.1038/sdata.2017.117; Baid et al., 2021, arXiv:2107.02314",
        steps=steps,
        notes=notes,
        broken=broken,
    )


def _slices(text: str) -> KeepSlices:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError(f"slices must be two numbers such as '50-104', got {text!r}.")
    return KeepSlices(int(match[1]), int(match[2]))


def _find(folder: Path, notes: list[str]) -> tuple[dict[str, dict[str, Path]], dict[str, Path]]:
    """Images by modality and labels, both by examination; what is remarkable goes to the notes."""
    images: dict[str, dict[str, Path]] = {}
    labels: dict[str, Path] = {}
    grades: Counter[str] = Counter()
    for match, path in find_files(folder, _IMAGE):
        name, kind = match[1], match[2]
        if kind == "seg":
            labels[name] = path
            grades.update({part for part in path.parts if part in ("HGG", "LGG")})
        else:
            images.setdefault(name, {})[_NAMES.get(kind, kind)] = path
    for _, path in find_files(folder, _ODD_LABEL):
        owner = next((one.name for one in path.parents if one.name in images and one.name not in labels), None)
        if owner is not None:
            labels[owner] = path
            notes.append(f"The label of {owner} is {path.name}.")
    if grades:
        notes.append(f"Grades: {', '.join(f'{count} {grade}' for grade, count in sorted(grades.items()))}.")
    return images, labels


def _exam(name: str) -> _Exam:
    match = re.fullmatch(r"((?i:brats)-(.+?)-\d+)-(\d+)", name)
    if match is None:
        return _Exam(name, None, new=False, cavity=False)
    if match[2].upper() not in ("GLI", "SSA", "MET", "MEN"):
        raise ValueError(
            f"{name}: labels of BraTS {match[2].upper()} are not known here; import the set as a plain folder, which"
            " takes a table of the labels."
        )
    return _Exam(match[1], match[3], new=True, cavity=match[2].upper() == "GLI" and int(match[3]) >= 100)


def _classes(classes: str, enhancing: int, cavity: bool) -> tuple[dict[int, str], dict[int, int]]:
    """Classes by name, and the value in the files to class."""
    value = {1: 1, 2: 2, 3: enhancing}  # of each tissue in the files
    if classes == "tissues":
        names, more = ({**TUMOUR_LABELS, 4: "resection cavity"}, {4: [4]}) if cavity else (TUMOUR_LABELS, {})
        return names, label_table({**{one: [value[one]] for one in value}, **more}, [])
    inside = [value[one] for one in _REGIONS[classes]]
    outside = [one for one in (*value.values(), *([4] if cavity else [])) if one not in inside]
    return {0: "background", 1: f"{classes} tumour"}, label_table({1: inside}, outside)
