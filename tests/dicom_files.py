# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""DICOM files as scanners write them, made by pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

AXIAL = (1, 0, 0, 0, 1, 0)


def header(pixels: np.ndarray, sop_class: str = MRImageStorage, **tags: Any) -> FileDataset:
    """A data set of these pixels, ``(rows, columns)`` or with frames first; `tags` by keyword, ``None`` leaves out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        **{"SOPClassUID": sop_class, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "PatientID": "x"},
        **{"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "SeriesNumber": 1, "Modality": "MR"},
        **{"Rows": pixels.shape[-2], "Columns": pixels.shape[-1], "SamplesPerPixel": 1, "BitsAllocated": 16},
        **{"PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15},
        **({"NumberOfFrames": len(pixels)} if pixels.ndim == 3 else {}),
        **tags,
    }
    for key, value in values.items():
        if value is not None:
            setattr(data, key, list(value) if isinstance(value, tuple) else value)
    data.PixelData = pixels.astype("<i2").tobytes()
    return data


def write_series(
    folder: Path,
    slices: np.ndarray,
    positions: Sequence[Sequence[float]],
    *,
    rows: Sequence[float] = AXIAL,
    name: str = "IMG-{:04d}.dcm",
    **tags: Any,
) -> list[Path]:
    """One classic file a slice.

    Args:
        folder: where to.
        slices: ``(Z, Y, X)``.
        positions: of each slice, mm (LPS).
        rows: ImageOrientationPatient.
        name: of the files.
        **tags: by keyword; a list has one value a slice, a tuple is one value.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, (pixels, place) in enumerate(zip(slices, positions, strict=True)):
        own = {key: value[k] if isinstance(value, list) else value for key, value in tags.items()}
        plain = {
            **{"ImagePositionPatient": [float(p) for p in place], "ImageOrientationPatient": [float(r) for r in rows]},
            **{"PixelSpacing": [0.9, 0.7], "SliceThickness": 5.0, "InstanceNumber": k + 1},
        }
        data = header(pixels, CTImageStorage if own.get("Modality") == "CT" else MRImageStorage, **{**plain, **own})
        paths.append(folder / name.format(k + 1))
        data.save_as(paths[-1], enforce_file_format=True)
    return paths


def write_enhanced(path: Path, frames: np.ndarray, positions: Sequence[Sequence[float]], **tags: Any) -> Path:
    """One enhanced file of many frames; `tags` as ``slopes=[...]`` of each frame, or of the file by keyword."""
    slopes = tags.pop("slopes", [1.0] * len(frames))
    data = header(frames, EnhancedMRImageStorage, **tags)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.9, 0.7], 5.0
    plane.ImageOrientationPatient = list(map(float, AXIAL))
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    data.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for place, slope in zip(positions, slopes, strict=True):
        own, where, scale = Dataset(), Dataset(), Dataset()
        where.ImagePositionPatient = [float(p) for p in place]
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope, 0.0, "US"
        own.PlanePositionSequence, own.PixelValueTransformationSequence = [where], [scale]
        groups.append(own)
    data.PerFrameFunctionalGroupsSequence = groups
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path
