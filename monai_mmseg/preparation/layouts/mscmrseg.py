# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MS-CMRSeg 2019: bSSFP, T2 and LGE cardiac MR of the same patients."""

from __future__ import annotations

from pathlib import Path

from monai_mmseg.data.label_sets import HEART_LABELS
from monai_mmseg.preparation.layouts.layout import NIFTI, Case, Layout, find_files, label_table, require

_MODALITIES = {"C0": "bssfp", "T2": "t2", "LGE": "lge"}


def read_mscmrseg(folder: str | Path) -> Layout:
    """Find the volumes of MS-CMRSeg 2019, wherever they lie in a folder.

    Labels: 1 LV (500 in the files), 2 myocardium (200), 3 RV (600). The challenge published labels for a part of the
    images only; the others are listed without a label.

    Args:
        folder: holds ``patient1_C0.nii.gz`` (bSSFP), ``patient1_T2.nii.gz``, ``patient1_LGE.nii.gz`` and labels such as
            ``patient1_C0_manual.nii.gz``, in any folders.

    Returns:
        The data set, modalities ``bssfp``, ``t2`` and ``lge``. A patient with a label that lacks its image is broken.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if a file is there twice.
    """
    name = r"patient(\d+)_(C0|T2|LGE)"
    images, labels = (
        {(int(match[1]), match[2]): path for match, path in find_files(folder, name + ending + NIFTI)}
        for ending in ("", "_manual")
    )
    broken = {f"patient{key[0]}": f"{labels[key]} has no image." for key in sorted(labels.keys() - images)}
    order = sorted(images, key=lambda key: (key[0], list(_MODALITIES).index(key[1])))
    cases = [Case(f"patient{key[0]}", _MODALITIES[key[1]], images[key], labels.get(key)) for key in order]
    cases = [case for case in cases if case.subject not in broken]
    if not broken:
        require(folder, cases, [], "patient1_LGE.nii.gz")
    without = sum(case.label is None for case in cases)
    return Layout(
        "mscmrseg",
        [one for one in _MODALITIES.values() if any(case.modality == one for case in cases)],
        HEART_LABELS,
        label_table({1: [500], 2: [200], 3: [600]}, background=[]),
        cases,
        "https://zmiclab.github.io/zxh/0/mscmrseg19/",
        licence="for research, as the owners' site says",
        citation="Zhuang, IEEE TPAMI 41(12), 2019, doi:10.1109/TPAMI.2018.2869576; "
        "Zhuang et al., Medical Image Analysis 81, 2022, doi:10.1016/j.media.2022.102528",
        notes=[f"{without} of {len(cases)} images are without label."],
        broken=broken,
    )
