# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MM-WHS 2017: cardiac CT and MR of different patients."""

from __future__ import annotations

from pathlib import Path

from monai_mmseg.data.label_sets import CARDIAC_LABELS
from monai_mmseg.preparation.layouts.layout import Case, Layout, find_files, label_table, require


def read_mmwhs(folder: str | Path) -> Layout:
    """Find the volumes of MM-WHS 2017, wherever they lie in a folder.

    Four structures are kept, in the order of Dou et al., IEEE TMI 2020: LV myocardium (205 in the files), left atrium
    (420, and a stray 421), LV blood (500), ascending aorta (820). Right ventricle (600), right atrium (550) and
    pulmonary artery (850) become background.

    Args:
        folder: holds ``ct_train/ct_train_1001_image.nii.gz`` and ``..._label.nii.gz``, ``mr_train/...``, and maybe
            ``ct_test/ct_test_2001_image.nii.gz``, whose labels are not public.

    Returns:
        The data set; CT and MR of one number are different patients.

    Raises:
        FileNotFoundError: if there are no such files, or a training image lacks its label or a label its image.
    """
    cases, lost = [], []
    pattern = r"(ct|mr)_(train|test)_(\d+)_image(\.nii(?:\.gz)?)"
    for match, path in find_files(folder, pattern):
        modality, part, number, ending = match.groups()
        label = path.with_name(f"{modality}_{part}_{number}_label{ending}")
        if part == "train" and not label.is_file():
            lost.append(label)
        section = "training" if part == "train" else "test"
        cases.append(Case(f"{modality}_{number}", modality, path, label if label.is_file() else None, section))
    for _, path in find_files(folder, r"(?:ct|mr)_(?:train|test)_\d+_label\.nii(?:\.gz)?"):
        image = path.with_name(path.name.replace("_label.", "_image."))
        if not image.is_file():
            lost.append(image)
    require(folder, cases, lost, "ct_train/ct_train_1001_image.nii.gz")
    values = label_table({1: [205], 2: [420, 421], 3: [500], 4: [820]}, background=[550, 600, 850])
    found = [name for name in ("ct", "mr") if any(case.modality == name for case in cases)]
    return Layout("mmwhs", found, CARDIAC_LABELS, values, cases, "https://zmiclab.github.io/zxh/0/mmwhs/")
