# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Finding and reading the two volumes that are compared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_mmseg.transforms.geometry import voxel_sizes
from monai_mmseg.transforms.image_files import VOLUME_ENDINGS, VolumeError, image_ending
from monai_mmseg.transforms.read_volume import read_volume

#: Of label volumes; the voxels of an ``.img`` are found through its ``.hdr``.
ENDINGS = tuple(ending for ending in VOLUME_ENDINGS if ending != ".img")
POSTFIXES = ("_seg", "_pred", "_trans", "")
#: Corner positions of two grids may differ by this share of a voxel: what a 32-bit header can lose.
GRID_TOLERANCE = 0.01


class LabelVolume(NamedTuple):
    """An integer label volume and where it lies."""

    values: NDArray[np.int64]  # (X, Y, Z)
    affine: NDArray[np.float64]  # (4, 4), voxel to mm
    spacing: tuple[float, float, float]  # mm
    path: str


def image_stem(path: str | Path) -> str:
    """File name of an image without the ending of its format; what else follows a dot is part of the name.

    Args:
        path: any path.

    Returns:
        The stem.

    Examples:
        >>> image_stem("s01/lge.nii.gz"), image_stem("s01.a.mha"), image_stem("1.2.840.113")
        ('lge', 's01.a', '1.2.840.113')
    """
    name, ending = Path(path).name, image_ending(path)
    return name[: -len(ending)] if ending else name


def prediction_stem(image: str | Path, subject: str) -> str:
    """Name of a subject's label volume without postfix and ending: the image's, with the subject's in front.

    Use it wherever a file is written for each subject: images of one file name in folders of subjects stay apart. An
    image whose name starts with its subject's keeps it.

    Args:
        image: path of the image.
        subject: name of the subject; dots and spaces are kept, a slash becomes ``_``.

    Returns:
        The stem.

    Examples:
        >>> prediction_stem("s01.a/lge.nii.gz", "s01.a"), prediction_stem("s01.a_lge.nii.gz", "s01.a")
        ('s01.a_lge', 's01.a_lge')
        >>> prediction_stem("other/s01.a_lge.nii.gz", "s01")
        's01_s01.a_lge'
    """
    stem, name = image_stem(image), subject.replace("/", "_").replace("\\", "_")
    return stem if stem == name or stem.startswith((f"{name}_", f"{name}-")) else f"{name}_{stem}"


def prediction_stems(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the label volumes of several images, as :func:`prediction_stem`, and apart where modalities share one.

    Use it wherever each image of a datalist gets a file of its own: ``cine/s01.nii.gz`` and ``lge/s01.nii.gz`` of one
    subject, which only their folders tell apart, become ``s01_cine`` and ``s01_lge``.

    Args:
        items: with ``image``, ``subject`` and, if it is known, ``modality``.

    Returns:
        A name each; equal ones are left where the modality does not tell them apart either.

    Examples:
        >>> items = [{"image": f"{m}/s01.nii.gz", "subject": "s01", "modality": m} for m in ("cine", "lge")]
        >>> prediction_stems(items), prediction_stems(items[:1])
        (['s01_cine', 's01_lge'], ['s01'])
    """
    items = list(items)
    stems = [prediction_stem(item["image"], str(item["subject"])) for item in items]
    modalities: dict[str, list[Any]] = {}
    for stem, item in zip(stems, items, strict=True):
        modalities.setdefault(stem, []).append(item.get("modality"))
    apart = {stem for stem, found in modalities.items() if len(found) > 1 and len(set(found)) == len(found)}
    return [
        f"{stem}_{item['modality']}" if stem in apart and item.get("modality") else stem
        for stem, item in zip(stems, items, strict=True)
    ]


def find_prediction(folder: str | Path, item: Mapping[str, Any]) -> Path:
    """The file in a folder of predictions that belongs to an item of a datalist.

    Use it for what networks, baselines and MONAI's ``SaveImage`` write: ``<image stem>_seg.nii.gz`` (or without
    ``_seg``, or in another format of volumes that is read) in the folder itself, in a folder named after the subject,
    the stem or the image's own folder; else with the item's ``modality`` behind the name (:func:`prediction_stems`).

    Args:
        folder: where the predictions are.
        item: datalist item with ``image`` and ``subject``.

    Returns:
        The path.

    Raises:
        ValueError: no file fits, or several do.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "s01_lge_seg.nii.gz").touch()
        ...     find_prediction(folder, {"image": "data/s01/lge.nii.gz", "subject": "s01"}).name
        's01_lge_seg.nii.gz'
    """
    found = prediction_files(folder, item)
    if len(found) == 1:
        return found[0]
    root, stem, subject = Path(folder), image_stem(item["image"]), str(item["subject"])
    wanted = f"{stem}[_seg].nii.gz in {root}, {root / subject} or {root / stem}"
    if not found:
        raise ValueError(f"predictions must hold one file for subject {subject!r}, got none; looked for {wanted}.")
    raise ValueError(f"predictions must hold one file for subject {subject!r}, got {[str(path) for path in found]}.")


def prediction_files(folder: str | Path, item: Mapping[str, Any]) -> list[Path]:
    """All files that :func:`find_prediction` could mean; none where the item was not predicted.

    Args:
        folder: where the predictions are.
        item: datalist item with ``image`` and ``subject``.

    Returns:
        Paths.

    Examples:
        >>> prediction_files("no/such/folder", {"image": "data/s01/lge.nii.gz", "subject": "s01"})
        []
    """
    root, stem = Path(folder), image_stem(item["image"])
    subject, parent = str(item["subject"]), Path(item["image"]).parent.name
    nested = [Path(), Path(stem), Path(subject), Path(subject, stem), Path(parent), Path(parent, stem)]
    nested = [at for at in nested if not at.is_absolute() and ".." not in at.parts]  # predictions lie in their folder
    names = dict.fromkeys([stem, prediction_stem(item["image"], subject)])
    # The image itself is no prediction of itself: an evaluation of the data folder would otherwise compare grey values.
    own = os.path.realpath(item["image"])

    def files(names: Iterable[str]) -> list[Path]:
        ends = [f"{name}{post}{end}" for name in names for post in POSTFIXES for end in ENDINGS]
        places = dict.fromkeys(root / at / end for at in nested for end in ends)
        return [place for place in places if place.is_file() and os.path.realpath(place) != own]

    found = files(names)
    if not found and item.get("modality"):
        found = files(f"{name}_{item['modality']}" for name in names)
    return found


def read_label_volume(path: str | Path, labels: Mapping[int, str], *, ignore: int | None = None) -> LabelVolume:
    """Label volume of whole numbers that are all declared.

    Use it before any comparison: what a file holds by mistake (probabilities, another label set) is named here.

    Args:
        path: file of any format that :func:`~monai_mmseg.transforms.read_volume` reads, 2D or 3D (a trailing axis of
            length one is dropped).
        labels: declared values, background 0 included or not.
        ignore: value of voxels that were not annotated, which may occur, too.

    Returns:
        The volume with affine (to RAS+ mm) and spacing of the file.

    Raises:
        ValueError: the file cannot be read, is not 3D, or holds fractions, NaN or undeclared values.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     image = nib.Nifti1Image(np.ones((3, 4, 2), dtype=np.uint8), np.diag([2.0, 2.0, 8.0, 1.0]))
        ...     nib.save(image, f"{folder}/a.nii.gz")
        ...     volume = read_label_volume(f"{folder}/a.nii.gz", {1: "LV"})
        >>> volume.values.shape, volume.spacing
        ((3, 4, 2), (2.0, 2.0, 8.0))
    """
    try:
        volume = read_volume(path)
    except (FileNotFoundError, VolumeError) as error:
        raise ValueError(str(error).replace(f"{path}: cannot", f"{path} cannot", 1)) from error
    if volume.shape[0] != 1:
        shape = (*volume.shape[1:], volume.shape[0])
        raise ValueError(f"{path} must be a label volume with 3 axes, got shape {shape}.")
    data = volume.as_tensor()[0].numpy()
    values = np.unique(data)
    if not np.all(np.isfinite(values)) or np.any(values != np.round(values)):
        odd = [float(value) for value in values if not np.isfinite(value) or value != np.round(value)][:5]
        raise ValueError(f"{path} must hold whole numbers, one class a voxel, got {odd}.")
    if unknown := sorted({int(value) for value in values} - {0, *labels, ignore}):
        declared = ", ".join(f"{value} {name}" for value, name in sorted(labels.items()))
        raise ValueError(f"{path} must hold declared labels only ({declared}), got also {unknown}.")
    affine = np.asarray(volume.affine, dtype=np.float64)
    return LabelVolume(data.astype(np.int64), affine, voxel_sizes(affine, data.shape), str(path))


def check_same_grid(prediction: LabelVolume, label: LabelVolume) -> None:
    """Raise unless two volumes lie on one grid.

    Use it before any voxel-by-voxel comparison; resampling one of them here would change the numbers silently.

    Args:
        prediction: what was predicted.
        label: what is true.

    Raises:
        ValueError: shape, axes or place differ; the message has both paths.

    Examples:
        >>> grid = LabelVolume(np.zeros((3, 4, 2), dtype=np.int64), np.eye(4), (1.0, 1.0, 1.0), "a.nii.gz")
        >>> check_same_grid(grid, grid._replace(path="b.nii.gz"))
        >>> check_same_grid(grid, grid._replace(affine=np.diag([2.0, 1, 1, 1]), path="b.nii.gz"))
        Traceback (most recent call last):
        ValueError: prediction a.nii.gz and label b.nii.gz must lie in one place, got corners 2 mm apart ...
    """
    pair = f"prediction {prediction.path} and label {label.path}"
    if prediction.values.shape != label.values.shape:
        raise ValueError(
            f"{pair} must have one shape, got {prediction.values.shape} and {label.values.shape}; "
            "write predictions on the grid of the image."
        )
    size = np.array(label.values.shape) - 1
    corners = np.array([[i, j, k] for i in (0, size[0]) for j in (0, size[1]) for k in (0, size[2])])
    first, second = (nib.affines.apply_affine(volume.affine, corners) for volume in (prediction, label))
    shift = float(np.abs(first - second).max())
    tolerance = GRID_TOLERANCE * min(label.spacing)
    if not shift <= tolerance:
        if np.abs(first[:, None] - second).max(-1).min(1).max() <= tolerance:  # each corner lies on one of the label
            axes = ["".join(nib.aff2axcodes(volume.affine)) for volume in (prediction, label)]
            raise ValueError(
                f"{pair} lie in one place, but their axes are turned: {axes[0]} and {axes[1]}; write predictions on "
                "the grid of the image."
            )
        raise ValueError(
            f"{pair} must lie in one place, got corners {shift:.3g} mm apart (affines "
            f"{prediction.affine[:3].round(3).tolist()} and {label.affine[:3].round(3).tolist()})."
        )
