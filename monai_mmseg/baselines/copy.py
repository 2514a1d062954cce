# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The copy baseline: the label of one modality, put where it lies in the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.baselines.stacks import Placing, Stacks, nearest
from monai_mmseg.baselines.subjects import Found, predict_subjects


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
    placing = Placing(Stacks(label, label_affine, (rows, columns, depth), affine))
    return np.stack([nearest(label, placing.points(at)) for at in range(depth)], axis=2)


def copy_baseline(
    items: Sequence[Mapping[str, Any]],
    source: str,
    target: str,
    out_dir: str | Path,
    *,
    lend: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> dict[str, Path]:
    """Prediction files that copy one modality's labels to another modality's images.

    Use it with :func:`~monai_mmseg.evaluation.evaluate_predictions`, on the datalist that the networks are tested on.
    The target's labels are never opened.

    Args:
        items: flat items of a datalist with absolute paths.
        source: modality whose labels are copied.
        target: modality that gets them.
        out_dir: files are ``<out_dir>/<subject>/<image stem>_seg.nii.gz``; they appear together, when all are made.
        lend: whether the masks will be labels to train with: voxels that nobody annotated keep the value that the
            datalist has for them (``ignore``). Else they are background, as a prediction has a class everywhere.
        overwrite: whether files that are there already may be replaced.
        workers: processes at a time; ``None``: as many as there are cores, at most eight, where that pays.

    Returns:
        Subject to file, for the subjects that have a labelled source and a target image.

    Raises:
        ValueError: source and target are the same or have one label file, no subject has both, a file cannot be used, a
            subject cannot name a folder, or `workers` is not positive.
        OSError: the folder holds something already, or cannot be written.
    """
    return predict_subjects(
        _copy, items, source, target, out_dir, method="copy", lend=lend, overwrite=overwrite, workers=workers, images=()
    )


def _copy(stacks: Stacks) -> Found:
    return Found(copy_label(*stacks[:4]), {})
