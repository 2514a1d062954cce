# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MM-WHS 2017: cardiac CT and MR of different patients."""

from __future__ import annotations

from pathlib import Path

from monai_mmseg.data.label_sets import CARDIAC_LABELS, WHOLE_HEART_LABELS
from monai_mmseg.preparation.layouts.layout import NIFTI, Case, Layout, find_files, label_table, require
from monai_mmseg.preparation.layouts.steps import CropAroundLabel

_FOUR = {1: [205], 2: [420, 421], 3: [500], 4: [820]}
_OTHERS = {5: [550], 6: [600], 7: [850]}


def read_mmwhs(folder: str | Path, *, structures: str = "four", crop: str = "none") -> Layout:
    """Find the volumes of MM-WHS 2017, wherever they lie in a folder.

    The first four classes are in the order of Dou et al., IEEE TMI 2020: LV myocardium (205 in the files), left atrium
    (420, and a stray 421), LV blood (500), ascending aorta (820). Right atrium (550), RV blood (600) and pulmonary
    artery (850) follow, or become background.

    Args:
        folder: holds ``ct_train/ct_train_1001_image.nii.gz`` and ``..._label.nii.gz``, ``mr_train/...``, and maybe
            ``ct_test/ct_test_2001_image.nii.gz``, whose labels are not public.
        structures: four of the papers, or all seven.
        crop: heart leaves a box around the structures that are kept, 256 mm wide and high (a coronal slice of the
            papers' 256 x 256 voxels of 1 mm); none leaves the images where they are.

    Returns:
        The data set; CT and MR of one number are different patients. A training image without its label, or a label
        without its image, is broken.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if an option is unknown or a file is there twice.
    """
    if structures not in ("four", "seven"):
        raise ValueError(f"structures must be 'four' or 'seven', got {structures!r}.")
    if crop not in ("none", "heart"):
        raise ValueError(f"crop must be 'none' or 'heart', got {crop!r}.")
    name = r"(ct|mr)_(train|test)_(\d+)_"
    images, labels = (
        {match.groups(): path for match, path in find_files(folder, name + kind + NIFTI)} for kind in ("image", "label")
    )
    cases, broken = [], {}
    for key in sorted({*images, *labels}):
        modality, part, number = key
        subject = f"{modality}_{number}"
        if key not in images:
            broken[subject] = f"{labels[key]} has no image."
        elif part == "train" and key not in labels:
            broken[subject] = f"{images[key]} has no label."
        else:
            section = "training" if part == "train" else "test"
            cases.append(Case(subject, modality, images[key], labels.get(key), section))
    if not broken:
        require(folder, cases, [], "ct_train/ct_train_1001_image.nii.gz")
    seven = structures == "seven"
    modalities = [one for one in ("ct", "mr") if any(case.modality == one for case in cases)]
    notes = ["The papers do not say which patients they tested."]
    if "ct" in modalities:
        notes.append("CT outside of the scanner's circle is -1024, which stays.")
    if crop == "heart":
        notes.append(
            "Images are cut around the structures that are kept: 256 mm wide and high, 10 mm before and behind. The"
            " papers crop around the heart without saying how. Images without label are left whole."
        )
    return Layout(
        "mmwhs",
        modalities,
        WHOLE_HEART_LABELS if seven else CARDIAC_LABELS,
        label_table({**_FOUR, **_OTHERS} if seven else _FOUR, [] if seven else [550, 600, 850]),
        cases,
        "https://zmiclab.github.io/zxh/0/mmwhs/",
        licence="for research, as the owners' site says",
        citation="Zhuang and Shen, Medical Image Analysis 31, 2016, doi:10.1016/j.media.2016.02.006; "
        "Zhuang et al., Medical Image Analysis 58, 2019, doi:10.1016/j.media.2019.101537",
        steps=[CropAroundLabel()] if crop == "heart" else [],
        notes=notes,
        broken=broken,
    )
