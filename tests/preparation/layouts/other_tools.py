# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tiny data sets in the forms of other tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from monai_mmseg.preparation.layouts import Case
from tests.preparation.layouts.public_sets import AFFINE, SHAPE, label_of
from tests.synthetic_volumes import write


def image_of(seed: int, channels: int = 0) -> np.ndarray:
    """Whole numbers that no other seed has."""
    shape = (*SHAPE, channels) if channels else SHAPE
    return (1000 * seed + np.arange(np.prod(shape)).reshape(shape)).astype(np.int32)


def put(path: Path, array: np.ndarray) -> np.ndarray:
    """Write a volume in the format of its ending."""
    array = array.astype(np.uint8) if array.max() < 256 else array
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.lower().endswith((".nii.gz", ".nii")):
        write(path, array, AFFINE)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(array.T), str(path))
    return array


def put_json(path: Path, content: Any) -> Path:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def nnunet_set(
    folder: Path,
    cases: Sequence[str],
    channels: Mapping[str, str],
    labels: Mapping[str, Any],
    *,
    ending: str = ".nii.gz",
    test: Sequence[str] = (),
    values: Sequence[int] = (1, 2),
    **more: Any,
) -> Path:
    """Write a raw data set; image and label of the k-th case have the seed k."""
    for seed, name in enumerate([*cases, *test]):
        part = "Tr" if name in cases else "Ts"
        for channel in channels:
            put(folder / f"images{part}" / f"{name}_{int(channel):04d}{ending}", image_of(10 * seed + int(channel)))
        if name in cases:
            put(folder / "labelsTr" / f"{name}{ending}", label_of(values, seed).astype(np.uint8))
    head = {"channel_names": channels, "labels": labels, "numTraining": len(cases), "file_ending": ending}
    put_json(folder / "dataset.json", {**head, **more})
    return folder


def voxels(case: Case) -> np.ndarray:
    """Image of a case, as its frame says."""
    array = np.asarray(nib.load(case.image).dataobj)
    return array if case.frame is None else array[..., case.frame]


def rows(cases: Sequence[Case], *keys: str) -> list[tuple[Any, ...]]:
    """Some fields of cases; paths as names."""
    return [tuple(one.name if isinstance(one := getattr(case, key), Path) else one for key in keys) for case in cases]
