# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Headers of DICOM files: which files, what they say, and where each picture lies; pixels are not touched."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.utils import optional_import
from numpy.typing import NDArray

from monai_mmseg.transforms.image_files import VolumeError, check_image_file, is_dicom_file, is_lost_file

Floats = NDArray[np.float64]

_TAGS = (
    *(
        "SpecificCharacterSet",
        "SOPClassUID",
        "SOPInstanceUID",
        "PatientID",
        "StudyInstanceUID",
        "StudyDate",
        "SeriesInstanceUID",
    ),
    *("SeriesNumber", "SeriesDescription", "ProtocolName", "Modality", "EchoTime", "ImageType", "Rows", "Columns"),
    *("SamplesPerPixel", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "SharedFunctionalGroupsSequence"),
    *("PerFrameFunctionalGroupsSequence", "TriggerTime", "TemporalPositionIdentifier", "AcquisitionNumber"),
    *("DiffusionBValue", "AcquisitionTime", "InstanceNumber", "PhotometricInterpretation"),
    *("RescaleSlope", "RescaleIntercept"),
)


class DicomSlice(NamedTuple):
    """One picture: a file, or a frame of a file."""

    file: Path
    frame: int
    header: Any  # pydicom data set of the file
    position: Floats | None  # of the first pixel, LPS mm
    orientation: Floats | None  # direction of a row, then of a column
    spacing: tuple[float, float] | None  # between columns, between rows
    step: float | None  # what the header says of the distance of slices, mm
    rescale: tuple[float, float] | None  # of this frame alone


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


def dicom_files(folder: Path, *, recursive: bool, broken: dict[Path, str] | None = None) -> list[Path]:
    """DICOM files of a folder by their content, whatever their names.

    Args:
        folder: where to look.
        recursive: whether to look in its sub-folders, too.
        broken: learns which files are none and why, instead of an error.

    Returns:
        The files; those of a folder in the order of their names, 2 before 10.

    Raises:
        VolumeError: if a file named ``.dcm`` is none, or one beside DICOM files is empty or a pointer to a file that
            was never fetched: it was a slice.
    """
    found = []
    for place, below, names in os.walk(folder, followlinks=True):
        below[:] = sorted(name for name in below if recursive and not name.startswith((".", "__MACOSX")))
        here: list[Path] = []
        others: list[Path] = []
        for path in sorted((Path(place, name) for name in names if not name.startswith(".")), key=natural_order):
            named = path.suffix.lower() == ".dcm"
            try:
                (here if named or (path.is_file() and is_dicom_file(path)) else others).append(path)
            except OSError as error:
                if broken is None:
                    raise
                broken[path] = f"{path}: cannot be read ({error.strerror or error})."
        lost = [path for path in others if here and is_lost_file(path)]
        for path in [*(one for one in here if one.suffix.lower() == ".dcm"), *lost]:
            try:
                check_image_file(path)
            except (OSError, VolumeError) as error:
                if broken is None:
                    raise
                broken[path] = str(error)
        found += [path for path in here if broken is None or path not in broken]
    return found


def read_header(file: Path) -> Any:
    """What counts of the header of a DICOM file.

    Args:
        file: the file.

    Returns:
        Data set of pydicom.

    Raises:
        VolumeError: if it cannot be read.
        OptionalImportError: if pydicom is not installed.
    """
    pydicom, _ = optional_import("pydicom", descriptor="DICOM needs the package pydicom: pip install pydicom ({}).")
    read = pydicom.dcmread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that break the standard's rules and are not looked at here
        try:
            # files of old scanners lack the preamble
            header = read(file, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
            for _ in (*header.iterall(), *getattr(header, "file_meta", ())):  # values are made when asked for first
                pass
            return header
        except Exception as error:  # pydicom raises whatever the bytes lead it to
            raise VolumeError(f"{file}: cannot be read as a DICOM file ({error}).") from error


def holds_image(file: Path, header: Any) -> bool:
    """Whether a file has pixels: reports, contours and indexes have none.

    Args:
        file: the file.
        header: of :func:`read_header`.

    Returns:
        The answer.

    Raises:
        VolumeError: if it says that it is an image, or ends before it says anything.
    """
    if "Rows" in header and "Columns" in header:
        return True
    kind = getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID") or header.get("SOPClassUID")
    known = kind is not None and kind.name != kind  # else it may be a part of a UID
    lost = not known and not header and file.name.upper() != "DICOMDIR"
    if lost or (known and "Image Storage" in kind.name):
        raise VolumeError(f"{file}: is cut short: its header ends early; was it copied or downloaded whole?")
    return False


def text(header: Any, keyword: str) -> str:
    """Value of a header as text; several as DICOM writes them.

    Args:
        header: of :func:`read_header`.
        keyword: DICOM keyword.

    Returns:
        The text, empty where there is none.
    """
    value = header.get(keyword)
    if value is None:
        return ""
    several = isinstance(value, Sequence | Iterable) and not isinstance(value, str)
    return "\\".join(map(str, value)).strip() if several else str(value).strip()


def number(header: Any, keyword: str) -> float | None:
    """Value of a header as a number; ``None`` where there is none.

    Args:
        header: of :func:`read_header`.
        keyword: DICOM keyword.

    Returns:
        The number, or ``None``.
    """
    try:
        return float(header.get(keyword))
    except (TypeError, ValueError):
        return None


def _numbers(header: Any, keyword: str, count: int) -> Floats | None:
    value: Any = header.get(keyword) if header is not None else None
    try:
        numbers = np.array([float(one) for one in value], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == (count,) else None


def slices_of(file: Path, header: Any) -> Iterator[DicomSlice]:
    """Pictures of a file, each with its place in the patient; an enhanced file holds many.

    Args:
        file: the file.
        header: of :func:`read_header`.

    Yields:
        The pictures, as stored.
    """
    count = int(number(header, "NumberOfFrames") or 1)
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    for frame in range(count):
        own = frames[frame] if frame < len(frames) else None

        def group(name: str, own: Any = own) -> Any:
            return next((one[0] for g in (own, shared) if g is not None and (one := g.get(name))), None)

        # a classic file of one frame has all this in itself; of several, only for the first of them
        plain = header if count == 1 else None
        places = group("PlanePositionSequence") or plain
        turned = group("PlaneOrientationSequence") or plain
        measures = group("PixelMeasuresSequence") or header
        values = group("PixelValueTransformationSequence")
        size = _numbers(measures, "PixelSpacing", 2)
        size = _numbers(header, "ImagerPixelSpacing", 2) if size is None else size
        yield DicomSlice(
            file,
            frame,
            header,
            _numbers(places, "ImagePositionPatient", 3),
            _numbers(turned, "ImageOrientationPatient", 6),
            None if size is None else (float(size[1]), float(size[0])),
            number(measures, "SpacingBetweenSlices") or number(measures, "SliceThickness"),
            None
            if values is None
            else (number(values, "RescaleSlope") or 1.0, number(values, "RescaleIntercept") or 0.0),
        )
