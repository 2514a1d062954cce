# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tiny volumes under the names and folders of public data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tests.synthetic_volumes import centered_affine, write

SHAPE = (6, 5, 4)
AFFINE = centered_affine(SHAPE, (1.5, 1.5, 8.0))


def label_of(values: Sequence[int], seed: int = 0) -> np.ndarray:
    """Label map in which every value occurs."""
    return np.random.default_rng(seed).permutation(np.resize([0, *values], SHAPE).ravel()).reshape(SHAPE)


def write_pair(image: Path, label: Path | None, values: Sequence[int], dtype: type = np.int16) -> np.ndarray:
    """Write an image and, unless it is None, a label with these values."""
    array = label_of(values).astype(dtype)
    write(image, np.random.default_rng(1).normal(size=SHAPE).astype(np.float32), AFFINE)
    if label is not None:
        write(label, array, AFFINE)
    return array


def write_dicom(folder: Path, volume: np.ndarray, names: Sequence[str], *, spacing: float = 2.0) -> None:
    """Write slices ``(Z, Y, X)``, feet first, each under its name."""
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for place, name in enumerate(names):
        one = sitk.GetImageFromArray(volume[place])
        one.SetSpacing((0.7, 0.9))
        for tag, value in {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.9.{place}",
            "0008|0060": "MR",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.1",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.2",
            "0020|0032": f"-10\\-20\\{30 + spacing * place}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(place + 1),
            "0018|0050": str(spacing),
        }.items():
            one.SetMetaData(tag, value)
        writer.SetFileName(str(folder / name))
        writer.Execute(one)


def write_pictures(folder: Path, volume: np.ndarray, names: Sequence[str]) -> None:
    """Write slices as pictures, each under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for one, name in zip(volume, names, strict=True):
        sitk.WriteImage(sitk.GetImageFromArray(one.astype(np.uint8)), str(folder / name))
