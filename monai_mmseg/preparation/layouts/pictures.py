# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""DICOM slices and pictures of their labels as volumes on one grid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.transforms.image_files import check_image_file


def natural_order(path: Path) -> list[Any]:
    """Sort key that puts ``2`` before ``10``.

    Args:
        path: a file or folder.

    Returns:
        The key.

    Examples:
        >>> [path.name for path in sorted(map(Path, ["s10", "s2", "s1"]), key=natural_order)]
        ['s1', 's2', 's10']
    """
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _files(folder: Path, ending: str) -> list[Path]:
    files = [one for one in folder.iterdir() if one.suffix.lower() == ending and not one.name.startswith(".")]
    return sorted(files, key=natural_order)


def read_series(folder: Path) -> tuple[Any, list[int]]:
    """Volume of a folder of DICOM files, slices by their position in the patient.

    Args:
        folder: holds one series.

    Returns:
        SimpleITK image, and for each of its slices the place of its file in the order of the names.

    Raises:
        ValueError: if the folder holds no series, several, or files of none.
    """
    import SimpleITK as sitk

    files = _files(folder, ".dcm")
    series = list(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))) if files else []
    if len(series) != 1:
        raise ValueError(f"{folder}: expected the DICOM files of one series, found {len(files)} of {len(series)}.")
    names = [Path(name) for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])]
    if {one.name for one in names} != {one.name for one in files}:
        raise ValueError(f"{folder}: {len(files)} DICOM files, but {len(names)} of them make a series.")
    place = {one.name: number for number, one in enumerate(files)}
    for one in names:
        check_image_file(one)
    image = _read([str(one) for one in names], folder)
    return image, [place[one.name] for one in names]


def _read(files: str | list[str], named: Path) -> Any:
    import SimpleITK as sitk

    try:
        return sitk.ReadImage(files)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[-1]
        raise ValueError(f"{named}: cannot be read as an image ({reason}).") from error


def read_pictures(folder: Path, image: Any, places: list[int]) -> NDArray[np.int64]:
    """Label volume from pictures: the k-th picture belongs to the k-th DICOM file, both in the order of their names.

    Files need not be in the order of the slices: the CT of CHAOS runs from head to feet.

    Args:
        folder: holds the pictures.
        image: volume of :func:`read_series`.
        places: its second result.

    Returns:
        Grey values ``(Z, Y, X)``, slices as in the image.

    Raises:
        ValueError: if number or size of the pictures are not those of the slices.
    """
    import SimpleITK as sitk

    files = _files(folder, ".png")
    width, height, depth = image.GetSize()
    if len(files) != depth:
        raise ValueError(f"{folder}: {len(files)} pictures for {depth} slices.")
    pictures = []
    for one in files:
        check_image_file(one)
        picture = sitk.GetArrayFromImage(_read(str(one), one))
        picture = picture[..., 0] if picture.ndim == 3 else picture  # grey values saved as colours
        if picture.shape != (height, width):
            raise ValueError(f"{one}: a picture of {picture.shape} pixels for slices of {(height, width)}.")
        pictures.append(picture)
    return np.stack(pictures)[places].astype(np.int64)
