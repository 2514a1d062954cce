# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""BTCV, "Beyond the Cranial Vault": abdominal CT."""

from __future__ import annotations

from pathlib import Path

from monai_mmseg.data.label_sets import ABDOMEN_LABELS, BTCV_LABELS
from monai_mmseg.preparation.layouts.layout import NIFTI, Case, Layout, find_files, label_table, require

_FOUR = {1: [6], 2: [2], 3: [3], 4: [1]}
_OTHERS = {5: [4], 6: [5], **{value: [value] for value in range(7, 14)}}


def read_btcv(folder: str | Path, *, organs: str = "four") -> Layout:
    """Find the volumes of BTCV, wherever they lie in a folder.

    The first four classes are those that CHAOS has too, in the order of Dou et al., IEEE TMI 2020: liver (6 in the
    files), right kidney (2), left kidney (3), spleen (1). The other nine follow in the order of the files, or become
    background.

    Args:
        folder: holds ``RawData/Training/img/img0001.nii.gz`` and ``.../label/label0001.nii.gz`` (numbers 1 to 10 and 21
            to 40), and maybe ``RawData/Testing/img/img0061.nii.gz``, whose labels are not public.
        organs: four, or all thirteen.

    Returns:
        The data set, modality ``ct``. A training image without its label, or a label without its image, is broken.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if `organs` is unknown or a file is there twice.
    """
    if organs not in ("four", "all"):
        raise ValueError(f"organs must be 'four' or 'all', got {organs!r}.")
    images, labels = (
        {match[1]: path for match, path in find_files(folder, kind + r"(\d{4})" + NIFTI)} for kind in ("img", "label")
    )
    cases, broken = [], {}
    for number in sorted({*images, *labels}):
        subject = f"btcv_{number}"
        training = 1 <= int(number) <= 10 or 21 <= int(number) <= 40
        if number not in images:
            broken[subject] = f"{labels[number]} has no image."
        elif training and number not in labels:
            broken[subject] = f"{images[number]} has no label."
        else:
            section = "training" if training else "test"
            cases.append(Case(subject, "ct", images[number], labels.get(number), section))
    if not broken:
        require(folder, cases, [], "RawData/Training/img/img0001.nii.gz")
    every = organs == "all"
    return Layout(
        "btcv",
        ["ct"],
        BTCV_LABELS if every else ABDOMEN_LABELS,
        label_table({**_FOUR, **_OTHERS} if every else _FOUR, [] if every else [4, 5, *range(7, 14)]),
        cases,
        "https://www.synapse.org/Synapse:syn3193805",
        licence="as the owners' site says",
        citation="Landman et al., MICCAI multi-atlas labeling beyond the cranial vault, 2015, doi:10.7303/syn3193805",
        broken=broken,
    )
