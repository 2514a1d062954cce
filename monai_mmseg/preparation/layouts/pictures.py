# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""DICOM slices and pictures of their labels as volumes on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.transforms.dicom_headers import natural_order as natural_order
from monai_mmseg.transforms.dicom_series import DicomVolume, read_dicom_series
from monai_mmseg.transforms.image_files import check_image_file


def _files(folder: Path, ending: str) -> list[Path]:
    files = [one for one in folder.iterdir() if one.suffix.lower() == ending and not one.name.startswith(".")]
    return sorted(files, key=natural_order)


def read_series(folder: Path, files: Sequence[Path] = ()) -> tuple[DicomVolume, list[int]]:
    """Volume of a DICOM series, slices by their position in the patient.

    Args:
        folder: holds one series, unless files are given.
        files: those of the series.

    Returns:
        The volume, and for each of its slices the place of its file in the order of the names.

    Raises:
        ValueError: if there is no series, or several, or the slices are no volume.
    """
    volume = read_dicom_series(files or folder)
    if len(set(volume.files)) < len(volume.files):  # many in one file: pictures of them have the order of the patient
        return volume, list(range(len(volume.files)))
    place = {one: number for number, one in enumerate(sorted(volume.files, key=natural_order))}
    return volume, [place[one] for one in volume.files]


def read_pictures(folder: Path, image: DicomVolume, places: Sequence[int]) -> NDArray[np.int64]:
    """Label volume from pictures: the k-th picture belongs to the k-th DICOM file, both in the order of their names.

    Files need not be in the order of the slices: the CT of CHAOS runs from head to feet.

    Args:
        folder: holds the pictures.
        image: volume of :func:`read_series`.
        places: its second result.

    Returns:
        Grey values ``(X, Y, Z)``, slices as in the image.

    Raises:
        ValueError: if number or size of the pictures are not those of the slices.
    """
    import SimpleITK as sitk

    files = _files(folder, ".png")
    width, height, depth = image.array.shape
    if len(files) != depth:
        raise ValueError(f"{folder}: {len(files)} pictures for {depth} slices.")
    pictures = []
    for one in files:
        check_image_file(one)
        try:
            picture = sitk.GetArrayFromImage(sitk.ReadImage(str(one)))
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or [repr(error)])[-1]
            raise ValueError(f"{one}: cannot be read as an image ({reason}).") from error
        picture = picture[..., 0] if picture.ndim == 3 else picture  # grey values saved as colours
        if picture.shape != (height, width):
            raise ValueError(f"{one}: a picture of {picture.shape} pixels for slices of {(height, width)}.")
        pictures.append(picture)
    return np.stack(pictures)[list(places)].transpose(2, 1, 0).astype(np.int64)
