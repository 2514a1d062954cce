# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A DICOM series as a NIfTI file."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from monai_mmseg.files import write_nifti
from monai_mmseg.transforms.dicom_headers import dicom_files, read_header, text
from monai_mmseg.transforms.dicom_series import list_series, read_dicom_series

logger = logging.getLogger(__name__)

_KINDS = {"ct": "CT", "pet": "PT", "pt": "PT"}  # names of modalities as headers have them
_OF_MR = re.compile(r"mri?|t[12]\w*|flair|pdw?|dwi|adc|swi|mra|dixon|lge|cine|bssfp|dce")


def dicom_to_nifti(source: str | Path, out: str | Path) -> Path:
    """Read the one DICOM series of a folder, or one file, and write it as NIfTI.

    Args:
        source: folder with the files of one series; sub-folders are not looked at. Or one file, which is one volume.
        out: folder of the new file, which is named after `source`.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: there is no DICOM file.
        ValueError: there are several series, the series cannot be read, or its slices are no volume: some are missing,
            or it holds several volumes. The file is one slice of those beside it.

    Examples:
        >>> dicom_to_nifti("no/such/folder", ".")
        Traceback (most recent call last):
        FileNotFoundError: no/such/folder holds no image that is read here: no NIfTI file, no datalist.json, no DICOM...
    """
    place = Path(source)
    if not place.is_file() and not (place.is_dir() and dicom_files(place, recursive=False)):
        raise FileNotFoundError(
            f"{place.as_posix()} holds no image that is read here: no NIfTI file, no datalist.json, no DICOM series. "
            "Images in sub-folders need a datalist."
        )
    volume = read_dicom_series(place)
    if place.is_file() and volume.array.shape[2] == 1:
        series = next(
            (one for one in list_series(place.parent, recursive=False, broken={}) if place in one.files), None
        )
        if series is not None and len(series.files) > 1:
            raise ValueError(f"{place}: one slice of a series of {len(series.files)} files; give their folder.")
    name = re.sub(r"(?i)\.(dcm|ima)$", "", place.resolve().name) if place.is_file() else place.resolve().name
    return write_nifti(Path(out) / f"{name}.nii.gz", volume.array, volume.affine)


def tell_other_kind(source: str | Path, modality: str) -> None:
    """Warn of a DICOM series whose header says another modality than the one that it is taken for.

    When to use: where somebody says what a series is of. Names that say nothing of the scanner, such as ``arm``, pass.

    Args:
        source: folder with the files of one series, or one file.
        modality: what the series is taken for.

    Examples:
        >>> tell_other_kind("no/such/folder", "arm")
    """
    place, name = Path(source), modality.casefold()
    wanted = "MR" if _OF_MR.fullmatch(name) else _KINDS.get(name)
    if wanted is None:
        return
    said = text(read_header(place if place.is_file() else dicom_files(place, recursive=False)[0]), "Modality")
    if said not in ("", wanted):
        logger.warning("%s is taken as %s, and its header says %s: is it the right series?", source, modality, said)
