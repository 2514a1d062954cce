# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Volumes of one known body, defined in scanner coordinates, so that any grid through it has a known content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

CENTER = np.array([5.0, -8.0, 12.0])
RADII = np.array([30.0, 22.0, 26.0])


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rotation matrix from three angles in degrees."""
    a, b, c = np.radians([x, y, z])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


def centered_affine(
    shape: Sequence[int], spacing: Sequence[float], axes: np.ndarray | None = None, shift: Sequence[float] = (0, 0, 0)
) -> np.ndarray:
    """Affine of a volume whose middle lies in the body."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if axes is None else axes) @ np.diag(spacing)
    affine[:3, 3] = CENTER + np.asarray(shift) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def world_of(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Scanner coordinates of every voxel, mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def body(shape: Sequence[int], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth image and label (1 outer shell, 2 core) of the body on a grid."""
    world = world_of(shape, affine)
    depth = np.linalg.norm((world - CENTER) / RADII, axis=-1)
    # no symmetry: a flip or a swap of axes must be seen
    slope = (world - CENTER) @ np.array([0.9, 0.5, 0.3])
    image = 200 * np.exp(-(depth**2)) + slope + 100
    return image.astype(np.float32), ((depth < 1).astype(np.uint8) + (depth < 0.5)).astype(np.uint8)


def write(path: Path, array: np.ndarray, affine: np.ndarray) -> str:
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), str(path))
    return str(path)


def permuted(array: np.ndarray, affine: np.ndarray, order: Sequence[int], flips: Sequence[int]) -> tuple:
    """The same content stored with other axes."""
    array, affine = array.transpose(order), affine[:, [*order, 3]].copy()
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
        array = np.flip(array, axis)
    return np.ascontiguousarray(array), affine


def write_study(
    folder: Path,
    grids: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    subjects: Sequence[str] = ("s1", "s2"),
    axes: np.ndarray | None = None,
) -> Path:
    """Write subjects and a datalist; every modality has its own grid."""
    items = []
    for place, subject in enumerate(subjects):
        for modality, (shape, spacing) in grids.items():
            affine = centered_affine(shape, spacing, axes)
            image, label = body(shape, affine)
            image[0, 0, 0] += place  # two people: the same voxels twice would be one image under two names
            write(folder / "images" / f"{subject}_{modality}.nii.gz", image, affine)
            write(folder / "labels" / f"{subject}_{modality}.nii.gz", label, affine)
            items.append(
                {
                    "image": f"images/{subject}_{modality}.nii.gz",
                    "label": f"labels/{subject}_{modality}.nii.gz",
                    "modality": modality,
                    "subject": subject,
                    "fold": place,
                }
            )
    content = {
        "name": "body",
        "modalities": list(grids),
        "labels": {"0": "background", "1": "shell", "2": "core"},
        "training": items,
    }
    path = folder / "datalist.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def edit(path, change):
    """Change the content of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
