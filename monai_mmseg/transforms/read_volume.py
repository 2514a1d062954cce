# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Read one image or label volume, and refuse what cannot be used, always with the path in the message."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage
from monai.utils import SpaceKeys

from monai_mmseg.transforms.dicom_series import read_dicom_series
from monai_mmseg.transforms.image_files import VolumeError, check_image_file, image_ending
from monai_mmseg.transforms.nifti_header import affine_problem, corner_distance

AFFINE_TOLERANCE = 1e-3  # mm, for matching an image and its label: headers are stored in single precision


def path_of(volume: MetaTensor) -> str:
    """File of a volume, as its metadata have it."""
    return str(volume.meta.get("filename_or_obj", "image"))


def read_volume(source: str | Path | torch.Tensor | np.ndarray) -> MetaTensor:
    """Volume with its affine, channel first.

    Use it wherever a file is read. It takes the images of
    :data:`~monai_mmseg.transforms.image_files.IMAGE_ENDINGS` and folders of DICOM files; any other file is refused
    before a library opens it.

    Args:
        source: a path, or a channel-first array or tensor, which is passed on (3D arrays get a channel).

    Returns:
        float32 MetaTensor ``(C, X, Y, Z)``; a 4D file has its last axis as channels, a 2D file one slice.

    Raises:
        FileNotFoundError: if there is no such file.
        VolumeError: if it cannot be read, is no volume, or has an affine that cannot be inverted.

    Examples:
        >>> tuple(read_volume(torch.zeros(1, 4, 4, 3)).shape)
        (1, 4, 4, 3)
    """
    if isinstance(source, torch.Tensor | np.ndarray):
        volume = _from_array(source)
    elif isinstance(source, str | Path):
        volume = _from_file(source)
    else:
        raise VolumeError(f"image must be a path, a mapping from modality to path or an array, got {source!r}.")
    name = path_of(volume)
    if volume.ndim != 4 or 0 in volume.shape:
        raise VolumeError(f"{name}: expected a volume (C, X, Y, Z), got shape {tuple(volume.shape)}.")
    affine = np.asarray(volume.affine, dtype=np.float64)
    if affine.shape != (4, 4):
        raise VolumeError(f"{name}: the affine must be a matrix (4, 4), got {affine.shape}.")
    if problem := affine_problem(affine):
        raise VolumeError(f"{name}: the affine cannot be inverted: it {problem}: {affine.tolist()}.")
    volume.applied_operations = []
    return volume


def _from_array(source: torch.Tensor | np.ndarray) -> MetaTensor:
    if isinstance(source, np.ndarray) and source.dtype.kind not in "biuf":
        raise VolumeError(f"image: an array must hold real numbers, got {source.dtype}.")
    volume = source if isinstance(source, MetaTensor) else MetaTensor(torch.as_tensor(source))
    if volume.is_complex():
        raise VolumeError(f"{path_of(volume)}: an array must hold real numbers, got {volume.dtype}.")
    volume = volume.clone().to(torch.float32)
    return volume[None] if volume.ndim == 3 else volume


@cache
def _loader() -> LoadImage:
    """MONAI's loader; it makes one reader of each kind, and one that is not used here asks for a GPU package."""
    logger = logging.getLogger("monai.data.nvimgcodec_pydicom_plugin")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "NvImgCodecPydicomReader", UserWarning)
            return LoadImage(image_only=True, ensure_channel_first=True, dtype=np.float32)
    finally:
        logger.setLevel(level)


def _from_file(source: str | Path) -> MetaTensor:
    reader = check_image_file(source)
    if Path(source).is_dir() or image_ending(source) in ("", ".dcm"):
        return _from_dicom(source)
    try:
        # by this reader alone: left to choose, MONAI tries others, one of which executes pickles in some versions
        volume = _loader()(str(source), reader=reader())
    except Exception as error:  # readers raise whatever their library raises
        raise VolumeError(f"{source}: cannot be read as an image ({_reason(error)}).") from error
    if volume.ndim == 3:
        volume = volume[..., None]
    while volume.ndim > 4 and volume.shape[-1] == 1:
        volume = volume[..., 0]
    return volume


def _from_dicom(source: str | Path) -> MetaTensor:
    array, affine, _ = read_dicom_series(source)
    meta = {
        "filename_or_obj": str(source),
        "original_affine": affine.copy(),
        "original_channel_dim": float("nan"),
        "spatial_shape": np.array(array.shape),
        "space": SpaceKeys.RAS,
    }
    values = torch.from_numpy(np.ascontiguousarray(array[None], dtype=np.float32))
    return MetaTensor(values, affine=torch.as_tensor(affine), meta=meta)


def _reason(error: Exception) -> str:
    """The line of an error that tells something: ITK's first one is a place in its source."""
    text = str(error).strip()
    if found := re.search(r"ITK ERROR: (?:\w+\(0x\w+\): )?(.+)", text):
        return found[1].strip()
    # nibabel finds no type where a header, which was looked at already, is followed by too little
    if isinstance(error, EOFError) or re.search(
        "Error -3 while decompressing|CRC check failed|Cannot work out file type", text
    ):
        return "the file ends too early or is damaged; was it copied or downloaded whole?"
    lines = [line for line in text.splitlines() if not re.fullmatch(r"\S+:\d+:", line)]
    return lines[0].rstrip(".") if lines else repr(error)


def read_one_volume(source: str | Path | torch.Tensor | np.ndarray) -> MetaTensor:
    """As :func:`read_volume`, ``(1, X, Y, Z)``; a ``VolumeError`` for a file that holds several volumes."""
    volume = read_volume(source)
    if volume.shape[0] != 1:
        raise VolumeError(f"{path_of(volume)}: expected one 3D volume, got {volume.shape[0]} volumes.")
    return volume


def check_image_values(volume: MetaTensor, name: str | None = None) -> None:
    """Refuse an image with values that are not numbers.

    Args:
        volume: an image that is there; absent modalities are not to be checked.
        name: what the volume is, where its file holds several.

    Raises:
        VolumeError: if it holds NaN or infinite values.

    Examples:
        >>> check_image_values(MetaTensor(torch.zeros(1, 2, 2, 2)))
    """
    bad = int((~torch.isfinite(volume.as_tensor())).sum())
    if bad:
        of = f"{name}: " if name else ""
        raise VolumeError(f"{path_of(volume)}: {of}{bad} of {volume.numel()} values are NaN or infinite.")


def check_label_values(
    volume: MetaTensor,
    allowed: Sequence[int] | None,
    *,
    ignore: int | None = None,
    unknown: Sequence[bool] | None = None,
) -> None:
    """Refuse a label with values that nobody declared.

    Args:
        volume: a label map.
        allowed: declared values; ``None`` asks for whole numbers from 0 to 255 only.
        ignore: value of voxels that were not annotated, which is allowed, too.
        unknown: for each value from 0 whether it is a class that this label does not show.

    Raises:
        VolumeError: if other values occur, or a class that the label is said not to show.

    Examples:
        >>> check_label_values(MetaTensor(torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1)), [0, 1, 2])
    """
    found = torch.unique(volume.as_tensor()).tolist()
    fits = [value == int(value) and 0 <= value <= 255 if np.isfinite(value) else False for value in found]
    wrong = [
        value
        for value, fit in zip(found, fits, strict=True)
        if not fit or (allowed is not None and value not in allowed and value != ignore)
    ]
    if wrong:
        wanted = "whole numbers from 0 to 255" if allowed is None else f"one of the declared {list(allowed)}"
        shown = [int(value) if np.isfinite(value) and value == int(value) else value for value in wrong[:10]]
        raise VolumeError(f"{path_of(volume)}: label values must be {wanted}, found {shown}.")
    if more := [int(value) for value in found if value < len(unknown or ()) and unknown and unknown[int(value)]]:
        raise VolumeError(f"{path_of(volume)}: 'annotated' leaves out the classes of the values {more}, found in it.")


def check_same_grid(image: MetaTensor, label: MetaTensor) -> None:
    """Refuse a label that lies on another grid than its image.

    Args:
        image: the image, ``(C, X, Y, Z)``.
        label: its label map.

    Raises:
        VolumeError: if shapes differ, or a corner of the volume lies more than 0.001 mm + 0.001 voxel apart.

    Examples:
        >>> check_same_grid(MetaTensor(torch.zeros(1, 2, 2, 2)), MetaTensor(torch.zeros(1, 2, 2, 2)))
    """
    names = f"{path_of(label)}: the label lies on another grid than its image {path_of(image)}"
    if image.shape[1:] != label.shape[1:]:
        raise VolumeError(f"{names}: shapes are {tuple(label.shape[1:])} and {tuple(image.shape[1:])}.")
    first, second = (np.asarray(v.affine, dtype=np.float64) for v in (image, label))
    apart = corner_distance(first, second, image.shape[1:])
    tolerance = AFFINE_TOLERANCE * (1 + float(np.linalg.norm(first[:3, :3], axis=0).min()))
    # large volumes: a rotation stored in single precision moves far corners
    tolerance += 1e-5 * float(np.linalg.norm(first[:3, :3] @ (np.array(image.shape[1:]) - 1)))
    if apart > tolerance:
        raise VolumeError(f"{names}: their corners lie {apart:.4g} mm apart (tolerance {tolerance:.2g} mm).")
