# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A DICOM series as a NIfTI file."""

from __future__ import annotations

from pathlib import Path

from monai_mmseg.files import write_nifti
from monai_mmseg.transforms.dicom_headers import dicom_files
from monai_mmseg.transforms.dicom_series import read_dicom_series


def dicom_to_nifti(folder: str | Path, out: str | Path) -> Path:
    """Read the one DICOM series of a folder and write it as NIfTI.

    Args:
        folder: with the files of one series; sub-folders are not looked at.
        out: folder of the file, which is named after `folder`.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: there is no DICOM file.
        ValueError: there are several series, the series cannot be read, or its slices are no volume: some are missing,
            or it holds several volumes.

    Examples:
        >>> dicom_to_nifti("no/such/folder", ".")
        Traceback (most recent call last):
        FileNotFoundError: no/such/folder holds no image that is read here: no NIfTI file, no datalist.json, no DICOM...
    """
    place = Path(folder)
    if not place.is_dir() or not dicom_files(place, recursive=False):
        raise FileNotFoundError(
            f"{place.as_posix()} holds no image that is read here: no NIfTI file, no datalist.json, no DICOM series. "
            "Images in sub-folders need a datalist."
        )
    volume = read_dicom_series(place)
    return write_nifti(Path(out) / f"{place.resolve().name}.nii.gz", volume.array, volume.affine)
