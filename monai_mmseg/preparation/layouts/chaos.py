# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""CHAOS 2019: abdominal MR (and CT) as DICOM slices with pictures of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_mmseg.data.label_sets import ABDOMEN_LABELS
from monai_mmseg.preparation.layouts.layout import Case, Layout, label_table, require
from monai_mmseg.preparation.layouts.pictures import natural_order

SEQUENCES: dict[str, tuple[str, str, str]] = {
    # part of the data set, folder of the slices below a patient, folder of the labels
    "t2spir": ("MR", "T2SPIR/DICOM_anon", "T2SPIR/Ground"),
    "t1dual_in": ("MR", "T1DUAL/DICOM_anon/InPhase", "T1DUAL/Ground"),
    "t1dual_out": ("MR", "T1DUAL/DICOM_anon/OutPhase", "T1DUAL/Ground"),
    "ct": ("CT", "DICOM_anon", "Ground"),
}

# grey values of the pictures; resaved copies deviate a little from 63, 126, 189 and 252
_MR_VALUES: dict[int, Any] = {1: range(55, 71), 2: range(110, 136), 3: range(175, 201), 4: range(240, 256)}


def read_chaos(folder: str | Path, sequence: str = "t2spir") -> Layout:
    """Find the patients of CHAOS in a folder.

    Liver, right kidney, left kidney and spleen are 1 to 4. The CT part has labels of the liver only.

    Args:
        folder: holds ``Train_Sets/MR/1/T2SPIR/DICOM_anon`` and ``.../Ground``, and maybe ``Test_Sets/MR/...``, whose
            labels are not public.
        sequence: ``"t2spir"``, ``"t1dual_in"`` or ``"t1dual_out"`` (the two phases share their labels), or ``"ct"``.

    Returns:
        The data set, modality ``mr`` or ``ct``.

    Raises:
        FileNotFoundError: if there are no such folders, or a training patient lacks the slices or the labels.
        ValueError: if the sequence is unknown.
    """
    if sequence not in SEQUENCES:
        raise ValueError(f"sequence must be one of {sorted(SEQUENCES)}, got {sequence!r}.")
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"folder must be where the data set was unpacked, but {folder} is not there.")
    part, slices, ground = SEQUENCES[sequence]
    cases: list[Case] = []
    lost: list[Path] = []
    for section, sets in (("training", "Train_Sets"), ("test", "Test_Sets")):
        for patient in sorted(_patients(Path(folder), sets, part), key=natural_order):
            image, label = patient / slices, patient / ground
            lost += [one for one in (image, label) if not one.is_dir() and (section == "training" or one == image)]
            name = f"chaos_{part.lower()}_{patient.name}"
            cases.append(Case(name, part.lower(), image, label if label.is_dir() else None, section))
    require(folder, cases, lost, f"Train_Sets/{part}/1/{slices}/*.dcm")
    labels = ABDOMEN_LABELS if part == "MR" else {0: "background", 1: ABDOMEN_LABELS[1]}
    values = label_table(_MR_VALUES if part == "MR" else {1: [255]}, background=[])
    return Layout(f"chaos_{sequence}", [part.lower()], labels, values, cases, "https://chaos.grand-challenge.org/")


def _patients(folder: Path, sets: str, part: str) -> list[Path]:
    """Folders of patients, below a folder that may be the data set, its parent, or already ``Train_Sets``."""
    roots = [folder] if folder.name == sets else sorted(folder.rglob(sets))
    return [one for root in roots for one in (root / part).glob("*") if one.is_dir() and not one.name.startswith(".")]
