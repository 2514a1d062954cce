# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""BTCV, "Beyond the Cranial Vault": abdominal CT."""

from __future__ import annotations

from pathlib import Path

from monai_mmseg.data.label_sets import ABDOMEN_LABELS
from monai_mmseg.preparation.layouts.layout import Case, Layout, find_files, label_table, require


def read_btcv(folder: str | Path) -> Layout:
    """Find the volumes of BTCV, wherever they lie in a folder.

    The four organs that CHAOS has too are kept, in the order of Dou et al., IEEE TMI 2020: liver (6 in the files),
    right kidney (2), left kidney (3), spleen (1). The other nine become background.

    Args:
        folder: holds ``RawData/Training/img/img0001.nii.gz`` and ``.../label/label0001.nii.gz`` (numbers 1 to 10 and 21
            to 40), and maybe ``RawData/Testing/img/img0061.nii.gz``, whose labels are not public.

    Returns:
        The data set, modality ``ct``.

    Raises:
        FileNotFoundError: if there are no such files, or a training image lacks its label or a label its image.
    """
    cases, lost = [], []
    for match, path in find_files(folder, r"img(\d{4})(\.nii(?:\.gz)?)"):
        number, ending = match.groups()
        label = path.parent.parent / "label" / f"label{number}{ending}"
        training = 1 <= int(number) <= 10 or 21 <= int(number) <= 40
        if training and not label.is_file():
            lost.append(label)
        section = "training" if training else "test"
        cases.append(Case(f"btcv_{number}", "ct", path, label if label.is_file() else None, section))
    for match, path in find_files(folder, r"label(\d{4})(\.nii(?:\.gz)?)"):
        image = path.parent.parent / "img" / f"img{match[1]}{match[2]}"
        if not image.is_file():
            lost.append(image)
    require(folder, cases, lost, "RawData/Training/img/img0001.nii.gz")
    values = label_table({1: [6], 2: [2], 3: [3], 4: [1]}, background=[4, 5, *range(7, 14)])
    return Layout("btcv", ["ct"], ABDOMEN_LABELS, values, cases, "https://www.synapse.org/Synapse:syn3193805")
