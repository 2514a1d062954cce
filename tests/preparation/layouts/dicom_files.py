# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Classic DICOM files of a volume, one a slice, with the headers that a test asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
AFFINE = LPS @ np.array([[0.7, 0, 0, -10], [0, 0.9, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1.0]])


def uid(*words: object) -> str:
    """The same identifier for the same words."""
    return pydicom.uid.generate_uid(entropy_srcs=[str(word) for word in words])


def write_series(
    folder: Path,
    volume: np.ndarray,
    affine: np.ndarray = AFFINE,
    *,
    series: object = "s",
    names: Sequence[str] | None = None,
    each: Sequence[dict[str, Any]] | None = None,
    **tags: Any,
) -> None:
    """Write ``(X, Y, Z)`` on a grid in RAS; `tags` are of all files, `each` of single slices."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = LPS @ affine
    sizes = np.linalg.norm(grid[:3, :3], axis=0)
    turned = (grid[:3, :2] / sizes[:2]).T.ravel()
    for place in range(volume.shape[2]):
        name = f"IM{place:04d}" if names is None else names[place]
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        meta.MediaStorageSOPInstanceUID = uid(series, name)
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        given = {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "Modality": "MR",
            "PatientID": "P1",
            "StudyInstanceUID": uid("study"),
            "SeriesInstanceUID": uid(series),
            "FrameOfReferenceUID": uid("frame"),
            "ImageType": ["ORIGINAL", "PRIMARY"],
            "InstanceNumber": place + 1,
            "ImagePositionPatient": [f"{value:.6g}" for value in (grid @ [0, 0, place, 1])[:3]],
            "ImageOrientationPatient": [f"{value:.8f}" for value in turned],
            "PixelSpacing": [f"{sizes[1]:.8g}", f"{sizes[0]:.8g}"],
            "SliceThickness": f"{sizes[2]:.8g}",
            **tags,
            **(each[place] if each else {}),
        }
        for key, value in given.items():
            setattr(one, key, value)
        one.Rows, one.Columns = volume.shape[1], volume.shape[0]
        one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 1
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
        one.PixelData = np.ascontiguousarray(volume[:, :, place].T).astype("<i2").tobytes()
        one.save_as(folder / name, enforce_file_format=True)


def read_files(files: Sequence[Path]) -> np.ndarray:
    """Pixels ``(X, Y, Z)`` of files in their order."""
    return np.stack([pydicom.dcmread(one).pixel_array.T for one in files], -1)
