# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Masks that are taken for images: what their values and their names say."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.evaluation.files import image_stem
from monai_mmseg.transforms.image_files import VolumeError
from monai_mmseg.transforms.read_volume import read_volume

_FEW = 64  # different values, more than which a label rarely has and an image nearly always
_MASK = re.compile(r"(.*?)[._-]?(?:seg|segmentation|labels?|mask|gt|manual)", re.IGNORECASE)


def few_values(pixels: NDArray[np.floating] | NDArray[np.integer]) -> tuple[int, ...]:
    """The different values of an array, if they are whole numbers and few, as in a label; else none.

    Args:
        pixels: any shape.

    Returns:
        At most 64 values in their order; nothing for an image.

    Examples:
        >>> few_values(np.array([0.0, 2.0, 2.0, 1.0])), few_values(np.array([0.0, 0.5])), few_values(np.arange(65))
        ((0, 1, 2), (), ())
    """
    flat = pixels.reshape(-1)
    for part in (flat[:: max(1, flat.size // 4096)], flat):  # most images show it in a few voxels
        values = np.unique(part)
        if len(values) > _FEW or not (np.isfinite(values).all() and (values == np.round(values)).all()):
            return ()
    return tuple(int(value) for value in values)


def is_mask(values: Sequence[int], known: Collection[int]) -> bool:
    """Whether values of :func:`few_values` are those of a label, and not of a blank image.

    Args:
        values: of a file.
        known: values that labels have.

    Examples:
        >>> is_mask([0, 2], [0, 1, 2]), is_mask([0], [0, 1, 2]), is_mask([0, 200], [0, 1, 2])
        (True, False, False)
    """
    return len(values) > 1 and set(values) <= set(known)


def label_values(raw: Mapping[str, Any]) -> set[int]:
    """Values that labels of a datalist have, in its own files and in those that it was imported from.

    Args:
        raw: content of the file.

    Examples:
        >>> label_values({"labels": {"0": "background", "1": "a"}, "meta": {"label_values": {"0": 0, "205": 1}}})
        {0, 1, 205}
    """
    meta = raw["meta"] if isinstance(raw.get("meta"), Mapping) else {}
    tables = [raw.get("labels"), meta.get("label_values")]
    names = [str(value) for table in tables if isinstance(table, Mapping) for value in table]
    return {int(name) for name in names if name.isascii() and name.isdigit()}


def find_masks(files: Sequence[Path], known: Collection[int]) -> list[Path]:
    """Files that are masks by their names beside others (``a_seg`` beside ``a``), or by their values.

    When to use: before all files of a folder are taken for images. Each file is read.

    Args:
        files: volumes.
        known: values that labels have; a name that ends as those of masks do needs none of them.

    Returns:
        Those files; one that cannot be read is not among them.

    Examples:
        >>> import tempfile
        >>> from monai_mmseg.files import write_nifti
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, values in (("a", np.arange(99)), ("a_seg", np.zeros(99)), ("b_sge", np.arange(99) % 3)):
        ...         _ = write_nifti(Path(folder, f"{name}.nii.gz"), values.reshape(3, 3, 11) * 1.0, np.eye(4))
        ...     [path.name for path in find_masks(sorted(Path(folder).iterdir()), known=[0, 1, 2])]
        ['a_seg.nii.gz', 'b_sge.nii.gz']
    """
    stems = {image_stem(path).casefold() for path in files}
    found = []
    for path in files:
        named = _MASK.fullmatch(image_stem(path))
        if named and named[1].casefold() in stems:
            found.append(path)
            continue
        try:
            values = few_values(read_volume(path).numpy())
        except (OSError, VolumeError):
            continue
        if is_mask(values, known) or (named and values):
            found.append(path)
    return found
