# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MS-CMRSeg 2019: bSSFP, T2 and LGE cardiac MR of the same patients."""

from __future__ import annotations

from pathlib import Path

from monai_mmseg.data.label_sets import HEART_LABELS
from monai_mmseg.preparation.layouts.layout import Case, Layout, find_files, label_table, require

_MODALITIES = {"C0": "bssfp", "T2": "t2", "LGE": "lge"}


def read_mscmrseg(folder: str | Path) -> Layout:
    """Find the volumes of MS-CMRSeg 2019, wherever they lie in a folder.

    Labels: 1 LV (500 in the files), 2 myocardium (200), 3 RV (600). The challenge published labels for a part of the
    images only; the others are listed without a label.

    Args:
        folder: holds ``patient1_C0.nii.gz`` (bSSFP), ``patient1_T2.nii.gz``, ``patient1_LGE.nii.gz`` and labels such as
            ``patient1_C0_manual.nii.gz``, in any folders.

    Returns:
        The data set, modalities ``bssfp``, ``t2`` and ``lge``.

    Raises:
        FileNotFoundError: if there are no such files, or a label lacks its image.
    """
    name = r"patient(\d+)_(C0|T2|LGE)"
    labels = {match.groups(): path for match, path in find_files(folder, name + r"_manual\.nii(?:\.gz)?")}
    images = {match.groups(): path for match, path in find_files(folder, name + r"\.nii(?:\.gz)?")}
    lost = [f"patient{number}_{kind}.nii.gz" for number, kind in labels if (number, kind) not in images]
    order = sorted(images, key=lambda key: (int(key[0] or 0), list(_MODALITIES).index(str(key[1]))))
    cases = [Case(f"patient{key[0]}", _MODALITIES[str(key[1])], images[key], labels.get(key)) for key in order]
    require(folder, cases, lost, "patient1_LGE.nii.gz")
    found = [one for one in _MODALITIES.values() if any(case.modality == one for case in cases)]
    values = label_table({1: [500], 2: [200], 3: [600]}, background=[])
    return Layout("mscmrseg", found, HEART_LABELS, values, cases, "https://zmiclab.github.io/zxh/0/mscmrseg19/")
