# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which DICOM series a folder holds, and each as a volume whose slices lie where they were acquired."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from monai_mmseg.transforms.dicom_headers import dicom_files, number, read_header, text


@dataclass(frozen=True)
class DicomSeries:
    """Files of one volume, and what their headers say; a text that is not there is empty.

    Files of one ``SeriesInstanceUID`` and folder. Where they repeat positions or lie in several planes, those of one
    echo time and image type: echoes and phases of a dual echo are two, and a scout is not part of its CT.
    """

    files: tuple[Path, ...]  # in the order of their names, 2 before 10
    size: tuple[int, int, int]  # columns, rows, slices
    patient_id: str
    study_instance_uid: str
    study_date: str
    series_instance_uid: str
    series_number: int | None
    series_description: str
    protocol_name: str
    modality: str
    echo_time: float | None  # ms
    image_type: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the files."""
        return self.files[0].parent

    @property
    def facts(self) -> dict[str, str]:
        """What the headers say, by DICOM keyword.

        Examples:
            >>> one = DicomSeries((Path("a"),), (4, 4, 1), "p", "1.2", "", "1.3", 3, "T2 SPIR", "", "MR", 70.0, ("M",))
            >>> one.facts["SeriesDescription"], one.facts["SeriesInstanceUID"], one.described
            ('T2 SPIR', '1.3', "MR, 'T2 SPIR', 1 files, number 3")
        """
        values = {one.name: getattr(self, one.name) for one in fields(self)[2:]}
        words = {name: "\\".join(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {_keyword(name): "" if value is None else f"{value}" for name, value in words.items()}

    @property
    def described(self) -> str:
        """A few words for messages."""
        name = self.series_description or self.protocol_name
        words = [self.modality, repr(name) if name else "without description", f"{len(self.files)} files"]
        words += [] if self.series_number is None else [f"number {self.series_number}"]
        return ", ".join(filter(None, words))


def _keyword(name: str) -> str:
    return "".join(word.upper() if word in ("id", "uid") else word.title() for word in name.split("_"))


def list_series(folder: Path, recursive: bool = True) -> list[DicomSeries]:
    """Series of DICOM images in a folder, from their headers alone.

    When to use: to choose among series before any is read, by
    :func:`~monai_mmseg.transforms.dicom_series.read_dicom_series`. Objects without pixels (DICOMDIR, reports,
    contours) are passed by, as are hidden files and files that are no DICOM by their content.

    Args:
        folder: where to look.
        recursive: whether to look in its sub-folders, too.

    Returns:
        The series, in the order of their folders and numbers.

    Raises:
        FileNotFoundError: if there is no such folder.
        VolumeError: if a file named ``.dcm`` is none, or a header cannot be read.
        OptionalImportError: if pydicom is not installed.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     list_series(Path(folder))
        []
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder.")
    found: dict[tuple[Path, str], list[Any]] = {}
    for path in dicom_files(folder, recursive=recursive):
        header = read_header(path)
        if "Rows" in header and "Columns" in header:
            found.setdefault((path.parent, text(header, "SeriesInstanceUID")), []).append((path, header))
    series = [_series(part) for files in found.values() for part in _volumes(files)]
    return sorted(series, key=lambda one: (str(one.folder), one.series_number or 0, one.series_instance_uid))


def _volumes(files: list[Any]) -> list[list[Any]]:
    """Files of a series: one part, or one for each echo and type where they cannot be one volume."""
    places = [(text(h, "ImagePositionPatient"), text(h, "ImageOrientationPatient")) for _, h in files]
    if len(set(places)) == len(files) and len({plane for _, plane in places}) == 1:
        return [files]
    parts: dict[Any, list[Any]] = {}
    for path, header in files:
        parts.setdefault((text(header, "EchoTime"), text(header, "ImageType")), []).append((path, header))
    return list(parts.values())


def _series(files: list[Any]) -> DicomSeries:
    header = files[0][1]
    order = number(header, "SeriesNumber")
    return DicomSeries(
        files=tuple(path for path, _ in files),
        size=(int(header.Columns), int(header.Rows), sum(int(number(h, "NumberOfFrames") or 1) for _, h in files)),
        patient_id=text(header, "PatientID"),
        study_instance_uid=text(header, "StudyInstanceUID"),
        study_date=text(header, "StudyDate"),
        series_instance_uid=text(header, "SeriesInstanceUID"),
        series_number=None if order is None else int(order),
        series_description=text(header, "SeriesDescription"),
        protocol_name=text(header, "ProtocolName"),
        modality=text(header, "Modality"),
        echo_time=number(header, "EchoTime"),
        image_type=tuple(filter(None, text(header, "ImageType").split("\\"))),
    )
