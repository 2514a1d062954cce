# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The registration baseline: the label of one modality, deformed as its image is to look like the other's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from monai.utils import optional_import
from numpy.typing import NDArray

from monai_mmseg.baselines.deformation import NoRegistration, find_shift, needs_dipy
from monai_mmseg.baselines.stacks import Placing, Stacks, is_inside, nearest
from monai_mmseg.baselines.subjects import Found, predict_subjects

Dims = Literal[2, 3]

LEAST_KEPT, MOST_KEPT = 0.5, 2.0
"""Share of the copied foreground that a registration may leave: beyond, it has followed something else."""


def register_label(stacks: Stacks, *, dims: Dims = 2) -> Found:
    """Source label on the target's grid, moved by a registration of the images: affine, then SyN.

    A label voxel is looked up once, in the source's own grid, so no value is invented. Where a registration fails, or
    leaves less than half of the foreground (``lost``) or more than twice of it (``grown``), or the label has nothing in
    the slice, the label is the copied one. A slice without a partner that is near is none of those that are counted.
    Source: "register" in DAFNet, doi:10.1109/TMI.2020.3036584; see
    :func:`~monai_mmseg.baselines.deformation.find_shift`.

    Args:
        stacks: both images, and the source's label.
        dims: 2 registers every slice with its partner, 3 the volumes.

    Returns:
        The label and the number of slices (or 1 volume) that were ``registered``, or why not.

    Raises:
        ValueError: if an image is missing, or `dims` is something else.
    """
    if dims not in (2, 3):
        raise ValueError(f"dims must be 2 or 3, got {dims}.")
    if stacks.source is None or stacks.target is None:
        raise ValueError("stacks must hold both images, one is None.")
    placing, known = Placing(stacks), stacks.ignore is None
    if dims == 3:
        label, done = _moved(stacks, stacks.source, stacks.target, placing, None)
        return Found(label, {done: 1})
    out, counts = np.zeros(stacks.shape, dtype=np.int16), Counter[str]()
    for at, far in enumerate(placing.far):
        if stacks.classes(placing.slab(stacks.label, at)).any() and (known or not far):
            out[:, :, at], done = _moved(stacks, stacks.source, stacks.target[:, :, at], placing, at)
            counts.update([] if far else [done])
        else:
            out[:, :, at] = nearest(stacks.label, placing.points(at))
    return Found(out, counts)


def _moved(
    stacks: Stacks, source: NDArray[np.float32], fixed: NDArray[np.float32], placing: Placing, at: int | None
) -> tuple[NDArray[np.int16], str]:
    """Label of one slice, or of all for ``None``, and what was done: ``registered``, or why it is the copied one."""
    ndimage, _ = optional_import("scipy.ndimage")

    def points(shift: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        if at is not None:
            return placing.points(at, shift)
        shifts = [None if shift is None else shift[..., k] for k in range(placing.shape[2])]
        return np.stack([placing.points(k, one) for k, one in enumerate(shifts)], axis=-1)

    copied = nearest(stacks.label, there := points())
    moving = ndimage.map_coordinates(source, there, order=1, mode="nearest")
    spacing = np.linalg.norm(np.asarray(stacks.affine)[:3, : fixed.ndim], axis=0)
    try:
        shift = find_shift(fixed, moving, is_inside(source.shape, there), spacing)
    except NoRegistration as error:
        return copied, str(error)
    moved = nearest(stacks.label, points(shift))
    before, after = (int((stacks.classes(one) > 0).sum()) for one in (copied, moved))
    if LEAST_KEPT * before <= after <= MOST_KEPT * before:
        return moved, "registered"
    return copied, "lost" if after < before else "grown"


def register_baseline(
    items: Sequence[Mapping[str, Any]],
    source: str,
    target: str,
    out_dir: str | Path,
    *,
    dims: Dims = 2,
    lend: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> dict[str, Path]:
    """Prediction files that register one modality's images to another's, and move the labels along.

    Use it as :func:`~monai_mmseg.baselines.copy_baseline`; it needs the package ``dipy``. How many slices were
    registered, and why others were not, is logged and kept in ``<out_dir>/baseline.json``.

    Args:
        items: flat items of a datalist with absolute paths.
        source: modality whose labels are used.
        target: modality that gets them.
        out_dir: files are ``<out_dir>/<subject>/<image stem>_seg.nii.gz``; they appear together, when all are made.
        dims: 2 registers every slice with its partner, as in the paper; 3 the volumes.
        lend: as of :func:`~monai_mmseg.baselines.copy_baseline`.
        overwrite: whether files that are there already may be replaced.
        workers: processes at a time; ``None``: as many as there are cores, at most eight, where that pays.

    Returns:
        Subject to file, for the subjects that have a labelled source and a target image.

    Raises:
        ValueError: as :func:`~monai_mmseg.baselines.copy_baseline`, or `dims` is not 2 or 3.
        OSError: the folder holds something already, or cannot be written.
        ImportError: ``dipy`` is not installed.
    """
    if dims not in (2, 3):
        raise ValueError(f"dims must be 2 or 3, got {dims}.")
    needs_dipy()
    return predict_subjects(
        partial(register_label, dims=dims),
        items,
        source,
        target,
        out_dir,
        method="register",
        settings={"dims": dims},
        lend=lend,
        overwrite=overwrite,
        workers=workers,
    )
