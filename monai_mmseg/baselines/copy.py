# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The copy baseline: the label of one modality, put where it lies in the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.evaluation.files import image_stem
from monai_mmseg.files import write_nifti
from monai_mmseg.names import safe_name
from monai_mmseg.outputs import check_output_folder, new_files
from monai_mmseg.transforms.geometry import find_slice_axis
from monai_mmseg.transforms.pair_slices import pair_slices
from monai_mmseg.transforms.read_volume import check_label_values, read_one_volume, read_volume

logger = logging.getLogger(__name__)


def copy_label(
    label: NDArray[np.integer[Any]],
    label_affine: NDArray[np.floating[Any]],
    shape: Sequence[int],
    affine: NDArray[np.floating[Any]],
) -> NDArray[np.int16]:
    """Label volume on another grid: the nearest slice by physical position, the nearest voxel in it.

    Use it as the first number that any method has to beat. Through-plane, every slice of the target gets a slice of the
    source however far away, as a reader would who has nothing better; in-plane, what lies outside of the source stays
    background. Both volumes have their slices along the last axis. Where the stacks are tilted by more than 30 degrees
    a slice has no partner; then every voxel gets the nearest voxel, and background outside of the source.
    Source: "copy" in DAFNet, doi:10.1109/TMI.2020.3036584.

    Args:
        label: source label, shape ``(X, Y, Z)``.
        label_affine: its voxel to world matrix, mm.
        shape: of the target, three numbers.
        affine: voxel to world matrix of the target, mm.

    Returns:
        Label of the given shape.

    Examples:
        >>> source = np.arange(1, 3).reshape(1, 1, 2) * np.ones((2, 2, 1), dtype=int)
        >>> target = copy_label(source, np.diag([1.0, 1, 10, 1]), (2, 2, 4), np.diag([1.0, 1, 4, 1]))
        >>> target[0, 0].tolist()
        [1, 1, 2, 2]
    """
    rows, columns, depth = (int(size) for size in shape)
    to_source = np.linalg.inv(np.asarray(label_affine, dtype=np.float64)) @ np.asarray(affine, dtype=np.float64)
    if not _nearly_parallel(label_affine, affine):
        return _nearest_voxel(label, to_source, (rows, columns, depth))
    center = ((rows - 1) / 2, (columns - 1) / 2)
    partner, _ = pair_slices(affine, depth, label_affine, label.shape[2], center=center)
    grid = np.indices((rows, columns), dtype=np.float64).reshape(2, -1)
    out = np.zeros((rows, columns, depth), dtype=np.int16)
    for at in range(depth):
        points = np.vstack([grid, np.full(grid.shape[1], float(at)), np.ones(grid.shape[1])])
        place = np.floor((to_source @ points)[:2] + 0.5).astype(np.int64)
        inside = ((place >= 0) & (place < np.array(label.shape[:2])[:, None])).all(axis=0)
        flat = np.zeros(grid.shape[1], dtype=np.int16)
        flat[inside] = label[place[0, inside], place[1, inside], partner[at]]
        out[:, :, at] = flat.reshape(rows, columns)
    return out


def _nearly_parallel(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> bool:
    normals = []
    for affine in (first, second):
        normal = np.cross(np.asarray(affine)[:3, 0], np.asarray(affine)[:3, 1])
        normals.append(normal / np.linalg.norm(normal))
    return bool(abs(normals[0] @ normals[1]) > np.cos(np.pi / 6))


def _nearest_voxel(
    label: NDArray[np.integer[Any]], to_source: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.int16]:
    points = np.indices(shape, dtype=np.float64).reshape(3, -1)
    place = np.floor(to_source[:3, :3] @ points + to_source[:3, 3:] + 0.5).astype(np.int64)
    inside = ((place >= 0) & (place < np.array(label.shape)[:, None])).all(axis=0)
    flat = np.zeros(points.shape[1], dtype=np.int16)
    flat[inside] = label[place[0, inside], place[1, inside], place[2, inside]]
    return flat.reshape(shape)


def copy_baseline(
    items: Sequence[Mapping[str, Any]], source: str, target: str, out_dir: str | Path, *, overwrite: bool = False
) -> dict[str, Path]:
    """Prediction files that copy one modality's labels to another modality's images.

    Use it with :func:`~monai_mmseg.evaluation.evaluate_predictions`, on the datalist that the networks are tested on.
    The target's labels are never opened.

    Args:
        items: flat items of a datalist with absolute paths.
        source: modality whose labels are copied.
        target: modality that gets them.
        out_dir: files are ``<out_dir>/<subject>/<image stem>_seg.nii.gz``; they appear together, when all are made.
        overwrite: whether files that are there already may be replaced.

    Returns:
        Subject to file, for the subjects that have a labelled source and a target image.

    Raises:
        ValueError: source and target are the same, no subject has both, a file cannot be used, or a subject cannot
            name a folder.
        OSError: the folder holds something already, or cannot be written.
    """
    if source == target:
        raise ValueError(f"source and target must be two modalities, got {source!r} twice.")
    labels = {str(item["subject"]): item["label"] for item in items if item["modality"] == source and item.get("label")}
    images = {str(item["subject"]): item["image"] for item in items if item["modality"] == target}
    both = [subject for subject in images if subject in labels]
    if not both:
        known = sorted({str(item["modality"]) for item in items})
        raise ValueError(
            f"items must hold a subject with a {source!r} label and a {target!r} image, got none; there are {known}."
        )
    if without := sorted(images.keys() - labels.keys()):
        logger.warning("No %s label to copy for %d subjects: %s.", source, len(without), ", ".join(without))
    folder = check_output_folder(out_dir, overwrite=overwrite)
    written: dict[str, Path] = {}
    with new_files(folder, overwrite=overwrite) as stage:
        for subject in both:
            label, image = read_one_volume(labels[subject]), read_volume(images[subject])
            check_label_values(label, None)
            affine = np.asarray(image.affine, dtype=np.float64)
            values = label.as_tensor()[0].numpy().astype(np.int16)
            copied = _slices_last(values, np.asarray(label.affine, dtype=np.float64), image.shape[1:], affine)
            path = Path(safe_name(subject, "subject")) / f"{image_stem(images[subject])}_seg.nii.gz"
            write_nifti(stage / path, copied, affine)
            written[subject] = folder / path
    return written


def _slices_last(
    label: NDArray[np.int16],
    label_affine: NDArray[np.floating[Any]],
    shape: Sequence[int],
    affine: NDArray[np.floating[Any]],
) -> NDArray[np.int16]:
    """:func:`copy_label` for files whose slice axis may be any of the three."""
    source_axis, target_axis = (find_slice_axis(a, s) for a, s in ((label_affine, label.shape), (affine, shape)))
    source_order, target_order = ([*(k for k in range(3) if k != at), at] for at in (source_axis, target_axis))
    turned = copy_label(
        label.transpose(source_order),
        np.asarray(label_affine)[:, [*source_order, 3]],
        [shape[k] for k in target_order],
        np.asarray(affine)[:, [*target_order, 3]],
    )
    return np.ascontiguousarray(turned.transpose(np.argsort(target_order)))
