# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""CHAOS 2019: abdominal MR (and CT) as DICOM slices with pictures of the labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.data.label_sets import ABDOMEN_LABELS
from monai_mmseg.preparation.layouts.layout import Case, Layout, check_folder, label_table, require
from monai_mmseg.preparation.layouts.pictures import natural_order
from monai_mmseg.transforms.dicom_geometry import stack_slices
from monai_mmseg.transforms.dicom_headers import dicom_files, read_header, slices_of
from monai_mmseg.transforms.image_files import VolumeError

SEQUENCES: dict[str, tuple[str, str, str]] = {
    # part of the data set, folder of the slices below a patient, folder of the labels
    "t2spir": ("MR", "T2SPIR/DICOM_anon", "T2SPIR/Ground"),
    "t1dual_in": ("MR", "T1DUAL/DICOM_anon/InPhase", "T1DUAL/Ground"),
    "t1dual_out": ("MR", "T1DUAL/DICOM_anon/OutPhase", "T1DUAL/Ground"),
    "ct": ("CT", "DICOM_anon", "Ground"),
}
_SETS = {"training": "Train_Sets", "test": "Test_Sets"}

# grey values of the pictures; resaved copies deviate a little from 63, 126, 189 and 252
_MR_VALUES: dict[int, Any] = {1: range(55, 71), 2: range(110, 136), 3: range(175, 201), 4: range(240, 256)}
_CT_VALUES = {0: 0, 255: 1}
_REFERENCE = "https://chaos.grand-challenge.org/"
_LICENCE = "CC BY-SA 4.0 (doi:10.5281/zenodo.3431873); the challenge's own rules say CC BY-NC-SA 4.0"
_CITATION = "Kavur et al., CHAOS Challenge, Medical Image Analysis 69, 2021, doi:10.1016/j.media.2020.101950"


def read_chaos(
    folder: str | Path,
    *,
    sequence: str = "pair",
    phase: str = "out",
    parts: Sequence[str] | None = None,
    split: str | None = None,
) -> Layout:
    """Find the patients of CHAOS in a folder.

    By default both sequences of a patient are a pair: modalities ``t1`` (one phase of T1-DUAL) and ``t2`` (T2-SPIR) of
    one subject, with the slices paired by the table of DAFNet's program. Liver, right kidney, left kidney and spleen
    are 1 to 4.

    Args:
        folder: holds ``Train_Sets/MR/1/T2SPIR/DICOM_anon`` and ``.../Ground``, and maybe ``Test_Sets/MR/...``, whose
            labels are not public.
        sequence: ``"pair"``, or one alone: ``"t2spir"``, ``"t1dual_in"`` or ``"t1dual_out"`` (modality ``mr``), or
            ``"ct"`` (liver only).
        phase: of T1 in a pair: ``"out"`` as in DAFNet's program, or ``"in"`` as in its paper. They share their labels.
        parts: ``mr`` (default), ``ct``, or both: CT is of other patients, modality ``ct``. Only the liver is drawn
            there, so it is the only class then, as in the challenge's task across modalities.
        split: ``"0"``, ``"1"`` or ``"2"``: patients of the DAFNet paper's splits, 14 for training (fold 1), 3 for
            validation (fold 0) and 3 of the labelled ones as test.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: if there are no such folders.
        ValueError: if an option is unknown, or fits only to pairs.
    """
    parts = ["mr"] if parts is None else [str(one).lower() for one in parts]
    _check_options(sequence, phase, parts, split)
    check_folder(folder)
    kinds = {SEQUENCES.get(sequence, ("MR",))[0].lower(): sequence}  # modality to sequence
    if sequence == "pair":
        kinds = {"t1": f"t1dual_{phase}", "t2": "t2spir"} if "mr" in parts else {}
        kinds |= {"ct": "ct"} if "ct" in parts else {}
    cases, broken = _find(Path(folder), kinds)
    part, slices, _ = SEQUENCES[next(iter(kinds.values()))]
    require(folder, [*cases, *broken], [], f"Train_Sets/{part}/1/{slices}/*.dcm")
    notes: list[str] = []
    if "t1" in kinds:
        cases, note = _paired(cases)
        notes += [_PHASES[phase], note]
    if split is not None:
        cases, broken = _of_split(cases, broken, split)
        notes.append(f"Split {split} of the DAFNet paper: fold 0 is its validation, fold 1 its training set.")
    labels, values = ABDOMEN_LABELS, label_table(_MR_VALUES, background=[])
    if "ct" in kinds:
        labels = {0: "background", 1: ABDOMEN_LABELS[1]}
        values = dict.fromkeys(values, 0) | label_table({1: _MR_VALUES[1]}, background=[])
        notes.append("Labels are of the liver alone: nothing else was drawn in CT.")
    if sequence == "ct":
        values = _CT_VALUES
    return Layout(
        f"chaos_{sequence}",
        list(kinds),
        labels,
        values,
        cases,
        _REFERENCE,
        _LICENCE,
        _CITATION,
        target="t2" if "t2" in kinds else None,
        notes=notes,
        broken=broken,
    )


_PHASES = {
    "out": "T1 is the image out of phase, as in DAFNet's program; its paper says in phase.",
    "in": "T1 is the image in phase, as in the DAFNet paper; its program reads the one out of phase.",
}


def _check_options(sequence: str, phase: str, parts: Sequence[str], split: str | None) -> None:
    if sequence not in ("pair", *SEQUENCES):
        raise ValueError(f"sequence must be one of {sorted(('pair', *SEQUENCES))}, got {sequence!r}.")
    if phase not in _PHASES:
        raise ValueError(f"phase must be 'in' or 'out', got {phase!r}.")
    if not parts or set(parts) - {"mr", "ct"}:
        raise ValueError(f"parts must be some of ['mr', 'ct'], got {list(parts)}.")
    if split not in (None, "0", "1", "2"):
        raise ValueError(f"split must be '0', '1' or '2', got {split!r}.")
    if sequence != "pair" and (list(parts) != ["mr"] or phase != "out"):
        raise ValueError(f"phase and parts are of sequence 'pair', got sequence {sequence!r}.")
    if split is not None and (sequence == "ct" or "mr" not in parts):
        raise ValueError("split is of the MR part; the CT part has none.")


def _find(folder: Path, kinds: Mapping[str, str]) -> tuple[list[Case], dict[str, str]]:
    """Patients that are complete, and what the others lack."""
    cases: list[Case] = []
    lost: dict[str, list[str]] = {}
    for modality, name in kinds.items():
        part, slices, ground = SEQUENCES[name]
        for section, sets in _SETS.items():
            for patient in sorted(_patients(folder, sets, part), key=natural_order):
                subject, image, label = f"chaos_{part.lower()}_{patient.name}", patient / slices, patient / ground
                for one in (image, label) if section == "training" else (image,):
                    if not one.is_dir():
                        lost.setdefault(subject, []).append(f"{one} is not there")
                if any((case.subject, case.modality) == (subject, modality) for case in cases):
                    lost.setdefault(subject, []).append(f"{patient} is a second copy")
                values = _CT_VALUES if part == "CT" else None
                cases.append(Case(subject, modality, image, label if label.is_dir() else None, section, values=values))
    broken = {subject: "; ".join(reasons) for subject, reasons in lost.items()}
    return [case for case in cases if case.subject not in broken], broken


def _patients(folder: Path, sets: str, part: str) -> list[Path]:
    """Folders of patients, below a folder that may be the data set, its parent, or already ``Train_Sets``."""
    roots = [folder] if folder.name == sets else sorted(folder.rglob(sets))
    return [one for root in roots for one in (root / part).glob("*") if one.is_dir() and not one.name.startswith(".")]


def _tables() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("chaos_tables.json").read_text(encoding="utf-8"))


def _of_split(cases: Sequence[Case], broken: Mapping[str, str], split: str) -> tuple[list[Case], dict[str, str]]:
    """Patients of a split of the paper; those of the challenge's test set have no labels and were no part of it."""
    places = {"training": ("training", 1), "validation": ("training", 0), "test": ("test", None)}
    parts: dict[str, list[int]] = _tables()["splits"][split]
    chosen = {f"chaos_mr_{number}": places[name] for name, numbers in parts.items() for number in numbers}
    kept = [
        case._replace(section=chosen[case.subject][0], fold=chosen[case.subject][1])
        for case in cases
        if case.subject in chosen
    ]
    ct = [case._replace(fold=1 if case.section == "training" else None) for case in cases if case.modality == "ct"]
    absent = set(chosen) - {case.subject for case in kept} - set(broken)
    reasons = {name: reason for name, reason in broken.items() if name in chosen or name.startswith("chaos_ct")}
    return kept + ct, reasons | dict.fromkeys(sorted(absent), f"not there, but part of split {split}")


def _paired(cases: Sequence[Case]) -> tuple[list[Case], str]:
    """The cases, with tables of slices where a patient's series are those of the table."""
    tables = _tables()["pairs"]
    folders = {(case.subject, case.modality): case.image for case in cases if case.section == "training"}
    pairs: dict[tuple[str, str], dict[str, dict[int, int]]] = {}
    others: list[str] = []
    for subject in dict.fromkeys(subject for subject, modality in folders if modality == "t2"):
        number = subject.rpartition("_")[2]
        numbers = {name: _slice_numbers(folders[subject, name]) for name in ("t1", "t2")}
        picked = _picked(tables[number], numbers) if number in tables else None
        if picked is None:
            others.append(number)
            continue
        for one, other in (("t1", "t2"), ("t2", "t1")):
            pairs[subject, one] = {other: dict(sorted(zip(picked[one], picked[other], strict=True)))}
    note = f"Patients whose slices are paired by the table of DAFNet's program: {len(pairs) // 2}."
    if others:
        note += f" By position, since their series are not those of the table: {', '.join(others)}."
    return [case._replace(pairs=pairs.get((case.subject, case.modality))) for case in cases], note


def _picked(entry: dict[str, Any], numbers: dict[str, list[int]]) -> dict[str, list[int]] | None:
    """Slice numbers of a patient's pairs; ``None`` if the series have other slices than the table."""
    picked: dict[str, list[int]] = {}
    for name, order in numbers.items():
        count = len(order)
        ends = [(first, last if last >= 0 else count + last) for first, last in entry[name]]
        # a range that was written to its end must not run backwards in a shorter series
        if any(first > last for first, last in ends) or ends[-1][1] + entry.get(f"{name}_after", 0) >= count:
            return None
        picked[name] = [order[place] for first, last in ends for place in range(first, last + 1)]
    return picked if len(picked["t1"]) == len(picked["t2"]) else None


def _slice_numbers(folder: Path) -> list[int]:
    """Slice of the volume, of each file in the order of the table: by the last part of its name, descending."""
    try:
        files = dicom_files(folder, recursive=False)
        files.sort(key=lambda one: natural_order(_last_part(one)), reverse=True)
        slices = [one for file in files for one in slices_of(file, read_header(file))]
        order = stack_slices(slices, str(folder))[0] if slices else []
    except VolumeError:
        order = []  # refused by name when the slices are read
    return [order.index(place) for place in range(len(order))]


def _last_part(file: Path) -> Path:
    return Path(file.name.rpartition("-")[2])
