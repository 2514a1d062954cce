# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which DICOM series a folder holds, and each as a volume whose slices lie where they were acquired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.utils import optional_import
from numpy.typing import NDArray

from monai_mmseg.transforms.dicom_geometry import stack_slices
from monai_mmseg.transforms.dicom_headers import Floats, dicom_files, holds_image, number, read_header, slices_of, text
from monai_mmseg.transforms.image_files import VolumeError, check_image_file

_KIND = "PhotometricInterpretation"
_OF_ONE = (
    *("SeriesInstanceUID", "PatientID", "StudyInstanceUID", "SeriesNumber", "SeriesDescription", "ProtocolName"),
)


class Headed(NamedTuple):
    """A file and its header."""

    path: Path
    header: Any  # of pydicom


class DicomVolume(NamedTuple):
    """What :func:`read_dicom_series` returns."""

    array: NDArray[Any]  # (X, Y, Z), rescaled as the headers say
    affine: Floats  # from voxel indices to mm (RAS+), (4, 4); sheared where the gantry was tilted
    files: tuple[Path, ...]  # of each slice


@dataclass(frozen=True)
class DicomSeries:
    """Files of one volume, and what their headers say; a text that is not there is empty.

    Files of one ``SeriesInstanceUID``, patient, study, number, description, protocol and folder. Where they repeat
    positions, lie in several planes or have several echo times, those of one echo time and image type: echoes and
    phases of a dual echo are two, and a scout is not part of its CT.
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
            ('T2 SPIR', '1.3', "MR, 'T2 SPIR', 1 file, number 3, echo time 70 ms")
        """
        values = {one.name: getattr(self, one.name) for one in fields(self)[2:]}
        words = {name: "\\".join(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {_keyword(name): "" if value is None else f"{value}" for name, value in words.items()}

    @property
    def described(self) -> str:
        """A few words for messages."""
        name = self.series_description or self.protocol_name
        count = f"{len(self.files)} file{'s' * (len(self.files) > 1)}"
        words = [self.modality, repr(name) if name else "without description", count]
        words += [] if self.series_number is None else [f"number {self.series_number}"]
        words += [] if self.echo_time is None else [f"echo time {self.echo_time:g} ms"]
        return ", ".join(filter(None, words))


def _keyword(name: str) -> str:
    return "".join(word.upper() if word in ("id", "uid") else word.title() for word in name.split("_"))


def list_series(folder: Path, recursive: bool = True, *, broken: dict[Path, str] | None = None) -> list[DicomSeries]:
    """Series of DICOM images in a folder, from their headers alone.

    When to use: to choose among series before any is read, by
    :func:`~monai_mmseg.transforms.dicom_series.read_dicom_series`. Objects without pixels (DICOMDIR, reports,
    contours) are passed by, as are hidden files and files that are no DICOM by their content.

    Args:
        folder: where to look.
        recursive: whether to look in its sub-folders, too.
        broken: learns which files cannot be read and why, instead of an error.

    Returns:
        The series, in the order of their folders and numbers.

    Raises:
        FileNotFoundError: if there is no such folder.
        VolumeError: if a file named ``.dcm`` is none, one beside DICOM files is empty, or a header cannot be read.
        OptionalImportError: if pydicom is not installed.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     list_series(Path(folder))
        []
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder.")
    series = [
        _series(files) for files in _volumes(dicom_files(Path(folder), recursive=recursive, broken=broken), broken)
    ]
    return sorted(series, key=lambda one: (str(one.folder), one.series_number or 0, one.series_instance_uid))


def _volumes(paths: Iterable[Path], broken: dict[Path, str] | None = None) -> list[list[Headed]]:
    """Files that may be one volume each, with their headers."""
    found: dict[tuple[Any, ...], list[Headed]] = {}
    for path in paths:
        try:
            header = read_header(path)
            image = holds_image(path, header)
        except VolumeError as error:
            if broken is None:
                raise
            broken[path] = str(error)
            continue
        if image:
            # programs that make data anonymous write one UID everywhere
            found.setdefault((path.parent, *(text(header, key) for key in _OF_ONE)), []).append(Headed(path, header))
    return [part for files in found.values() for part in _parts(files)]


def _parts(files: list[Headed]) -> list[list[Headed]]:
    """Files of a series: one part, or one for each echo and type where they cannot be one volume."""
    # as numbers: 0.9999999 is 1, and -0 is 0
    places = {tuple(round(one, 3) + 0.0 for one in _values(h, "ImagePositionPatient")) for _, h in files}
    planes = [_values(h, "ImageOrientationPatient") for _, h in files]
    parallel = all(len(one) == len(planes[0]) and np.allclose(one, planes[0], rtol=0, atol=1e-3) for one in planes)
    # slices of two echoes, or magnitude and phase, are no volume even where they lie between each other
    kinds = {(number(h, "EchoTime"), *text(h, "ImageType").split("\\")[2:3]) for _, h in files}
    if len(places) == len(files) and parallel and len(kinds) == 1:
        return [files]
    parts: dict[tuple[float | None, str], list[Headed]] = {}
    for one in files:
        parts.setdefault((number(one.header, "EchoTime"), text(one.header, "ImageType")), []).append(one)
    return list(parts.values())


def _values(header: Any, keyword: str) -> list[float]:
    try:
        return [float(one) for one in header.get(keyword)]
    except (TypeError, ValueError):
        return []


def _series(files: list[Headed]) -> DicomSeries:
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


def read_dicom_series(source: str | Path | Sequence[Path]) -> DicomVolume:
    """Volume of one DICOM series, its slices sorted along their normal.

    When to use: wherever DICOM is read. Pixels come from SimpleITK (compressed ones too), the geometry from the header
    of every file or frame. What is no volume with one distance between its slices is refused, since a reader that
    stacks whatever it gets would move slices. A stack that was acquired with a tilted gantry keeps its slices: its
    affine is sheared, and a warning names the tilt.

    Args:
        source: a folder (not its sub-folders), the files of one series, or one file, which may hold many frames.

    Returns:
        Voxels in the type of the files, their affine, and the files.

    Raises:
        FileNotFoundError: if there is no such folder or file.
        VolumeError: if there is no series, more than one, or its slices are no volume; the message says which files.
        OptionalImportError: if pydicom or SimpleITK is not installed.

    Examples:
        >>> read_dicom_series([])
        Traceback (most recent call last):
        monai_mmseg.transforms.image_files.VolumeError: DICOM: no files were given.
    """
    files, name = _one_series(source)
    if several := next((one.path for one in files if (number(one.header, "SamplesPerPixel") or 1) != 1), None):
        raise VolumeError(f"{several}: holds colours; wanted is one value a pixel.")
    if inverted := next((one.path for one in files if text(one.header, _KIND) == "MONOCHROME1"), None):
        raise VolumeError(f"{inverted}: is {_KIND} MONOCHROME1, whose values readers invert; convert it before.")
    slices = [picture for one in files for picture in slices_of(one.path, one.header)]
    order, affine = stack_slices(slices, name)
    pixels = np.concatenate([_pixels(one) for one in files])
    # SimpleITK gives (Z, Y, X)
    return DicomVolume(pixels[order].transpose(2, 1, 0), affine, tuple(slices[place].file for place in order))


def _one_series(source: str | Path | Sequence[Path]) -> tuple[list[Headed], str]:
    """Files of the one series that was meant, and how to call it in messages."""
    if isinstance(source, str | Path) and Path(source).is_dir():
        found = _volumes(dicom_files(Path(source), recursive=False))
        if not found:
            raise VolumeError(f"{source}: none of the files in this folder is a DICOM image.")
        if len(found) > 1:
            lines = [f"  {one.described}, such as {one.files[0].name}" for one in map(_series, found)]
            raise VolumeError(
                f"{source}: holds {len(found)} DICOM series, which are different images; put the one that is meant in "
                "a folder of its own, or name it by a rule of `mmseg data import dicom`:\n" + "\n".join(lines)
            )
        return found[0], str(source)
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    if not paths:
        raise VolumeError("DICOM: no files were given.")
    for path in paths:
        check_image_file(path)
    files = [Headed(path, read_header(path)) for path in paths]
    if lost := next((one.path for one in files if not holds_image(*one)), None):
        raise VolumeError(f"{lost}: is DICOM, but holds no image.")
    return files, str(paths[0] if len(paths) == 1 else paths[0].parent)


def _pixels(file: Headed) -> NDArray[Any]:
    """``(frames, rows, columns)``, rescaled."""
    sitk, _ = optional_import("SimpleITK", descriptor="DICOM needs the package SimpleITK: pip install SimpleITK ({}).")
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # about geometry, which is looked at here
    try:
        found: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(file.path), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[-1]
        raise VolumeError(f"{file.path}: cannot be read as an image ({reason}).") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)
    wanted = (int(number(file.header, "NumberOfFrames") or 1), int(file.header.Rows), int(file.header.Columns))
    if found.shape != wanted:
        raise VolumeError(f"{file.path}: holds pixels of shape {found.shape}, but its header says {wanted}.")
    return found
