# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A DICOM series as a NIfTI file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

SPACING_TOLERANCE = 0.1
"""Distances of neighbouring slices may differ by this share of their median."""


def dicom_to_nifti(folder: str | Path, out: str | Path) -> Path:
    """Read the one DICOM series of a folder and write it as NIfTI.

    Args:
        folder: with the files of one series; sub-folders are not looked at.
        out: folder of the file, which is named after `folder`.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: there is no DICOM series.
        ModuleNotFoundError: SimpleITK is not installed.
        ValueError: there are several series, the series cannot be read, or its slices are no volume: some are missing,
            or it holds several volumes.

    Examples:
        >>> dicom_to_nifti("no/such/folder", ".")
        Traceback (most recent call last):
        FileNotFoundError: no/such/folder holds no image that is read here: no NIfTI file, no datalist.json, no DICOM...
    """
    place = Path(folder)
    if not place.is_dir():
        raise FileNotFoundError(_nothing(place))
    sitk, there = optional_import("SimpleITK")
    if not there:
        raise ModuleNotFoundError(f"{_nothing(place)} DICOM needs the package SimpleITK: pip install SimpleITK.")
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # a line for every file that is not DICOM
    try:
        image = _read(sitk, place)
        target = Path(out) / f"{place.resolve().name}.nii.gz"
        sitk.WriteImage(image, str(target))
    except RuntimeError as error:
        raise ValueError(
            f"{folder}: the DICOM series cannot be read ({str(error).strip().splitlines()[-1]})."
        ) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)
    return target


def _nothing(folder: Path) -> str:
    return (
        f"{folder.as_posix()} holds no image that is read here: no NIfTI file, no datalist.json, no DICOM series. "
        "Images in sub-folders need a datalist."
    )


def _read(sitk: Any, folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    files = {name: reader.GetGDCMSeriesFileNames(str(folder), name) for name in reader.GetGDCMSeriesIDs(str(folder))}
    if not files:
        raise FileNotFoundError(_nothing(folder))
    if len(files) > 1:
        lines = [f"  {name} ({_description(sitk, of[0])}, {len(of)} files)" for name, of in files.items()]
        raise ValueError(
            f"{folder} holds {len(files)} DICOM series; put the one to predict into a folder of its own:\n"
            + "\n".join(lines)
        )
    (names,) = files.values()
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOn()
    image = reader.Execute()
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"{folder}: the DICOM series holds colours, not one value a voxel.")
    _check_slices(reader, image, len(names), folder)
    return image


def _description(sitk: Any, file: str) -> str:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    tags = ("0008|0060", "0008|103e")  # modality, description of the series
    words = [reader.GetMetaData(tag).strip() for tag in tags if reader.HasMetaDataKey(tag)]
    return " ".join(filter(None, words)) or "no description"


def _check_slices(reader: Any, image: Any, number: int, folder: Path) -> None:
    """The reader stacks whatever it gets: slices that are missing or twice there would give a wrong volume."""
    tag = "0020|0032"  # position of the slice
    if number < 2 or not all(reader.HasMetaDataKey(i, tag) for i in range(number)):
        return
    places = np.array([[float(x) for x in reader.GetMetaData(i, tag).split("\\")] for i in range(number)])
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    steps = np.abs(np.diff(places @ normal))
    usual = float(np.median(steps))
    if usual == 0 or (np.abs(steps - usual) > SPACING_TOLERANCE * usual).any():
        raise ValueError(
            f"{folder}: the slices of the DICOM series are {steps.min():.3g} to {steps.max():.3g} mm apart, so that "
            "some are missing or it holds several volumes. Give one volume with all its slices, or a NIfTI file."
        )
