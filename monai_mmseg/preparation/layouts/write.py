# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Write a datalist for a data set, and copies of what cannot be used as it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.files import write_json, write_nifti
from monai_mmseg.names import safe_name
from monai_mmseg.outputs import check_files, check_output_file, new_files
from monai_mmseg.preparation.layouts.btcv import read_btcv
from monai_mmseg.preparation.layouts.chaos import read_chaos
from monai_mmseg.preparation.layouts.layout import Case, Layout
from monai_mmseg.preparation.layouts.mmwhs import read_mmwhs
from monai_mmseg.preparation.layouts.mscmrseg import read_mscmrseg
from monai_mmseg.preparation.layouts.pictures import read_pictures, read_series
from monai_mmseg.transforms.image_files import check_image_file
from monai_mmseg.transforms.read_volume import read_volume

LAYOUTS: dict[str, Callable[..., Layout]] = {
    "btcv": read_btcv,
    "chaos": read_chaos,
    "mmwhs": read_mmwhs,
    "mscmrseg": read_mscmrseg,
}
"""Readers by name: what ``mmseg data layout`` knows."""


def write_layout(layout: Layout, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the datalist of a data set.

    Images stay where they are; the datalist names them by relative paths. Labels are written again with the values of
    the datalist (``labels/`` beside it), so that every tool sees the same classes; DICOM slices become volumes
    (``images/``). The originals are not touched.

    Args:
        layout: what a reader found.
        out: JSON file to write; it appears last, when everything else is there, and nothing before all is made.
        overwrite: whether files that are there already may be replaced: `out`, and labels and images beside it.

    Returns:
        The file.

    Raises:
        ValueError: if a label has a value that the data set does not declare, or another size than its image, or a file
            cannot be used.
        OSError: if one of the files is there already, or cannot be written.
    """
    root = check_output_file(out, overwrite=overwrite).absolute().parent.resolve()
    if not overwrite:
        made = [_target(root, "labels", case) for case in layout.cases if case.label is not None]
        check_files(root, [*made, *(_target(root, "images", case) for case in layout.cases if case.image.is_dir())])
    sections: dict[str, list[dict[str, str]]] = {}
    with new_files(root, overwrite=overwrite) as stage:
        for case in layout.cases:
            image, label = (_from_slices if case.image.is_dir() else _from_volumes)(case, layout.values, stage)
            paths = {"image": image} if label is None else {"image": image, "label": label}
            item = {key: _relative(path, stage, root) for key, path in paths.items()}
            sections.setdefault(case.section, []).append({**item, "modality": case.modality, "subject": case.subject})
        content = {
            "name": layout.name,
            "modalities": list(layout.modalities),
            "labels": {str(value): name for value, name in layout.labels.items()},
            "reference": layout.reference,
            "meta": {"label_values": {str(value): one for value, one in sorted(layout.values.items())}},
            **sections,
        }
        write_json(stage / Path(out).name, content)
    return Path(out)


def _relative(path: Path, stage: Path, root: Path) -> str:
    """A file that was made, or one that stays where it is, as seen from the datalist."""
    made = path.is_relative_to(stage)
    return path.relative_to(stage).as_posix() if made else Path(os.path.relpath(path, root)).as_posix()


def map_values(values: NDArray[Any], table: Mapping[int, int], name: str) -> NDArray[np.uint8]:
    """Label values of the files as classes of the datalist.

    Args:
        values: whole numbers, any shape.
        table: value to class.
        name: of the file, for the message.

    Returns:
        uint8 array.

    Raises:
        ValueError: if there is a value that the table does not have.

    Examples:
        >>> map_values(np.array([0, 500, 205]), {0: 0, 205: 1, 500: 3}, "a.nii").tolist()
        [0, 3, 1]
    """
    given = np.asarray(values)
    numbers = given.astype(np.int32)
    # a table to look up, since sorting a volume of 1e8 values takes a minute
    low, high = (int(end) for end in (numbers.min(), numbers.max()))
    present = np.zeros(high - low + 1, dtype=bool)
    present[numbers - low] = True
    wrong: list[float] = [value for value in (np.flatnonzero(present) + low).tolist() if value not in table]
    if not np.array_equal(numbers, given):
        wrong += np.unique(given[numbers != given])[:10].tolist()
    if wrong:
        raise ValueError(f"{name}: label values must be some of {sorted(table)}, found {wrong[:10]}.")
    classes = np.array([table.get(value, 0) for value in range(low, high + 1)], dtype=np.uint8)
    return classes[numbers - low]


def _target(root: Path, kind: str, case: Case) -> Path:
    name = case.subject if case.modality in case.subject.split("_") else f"{case.subject}_{case.modality}"
    return root / kind / f"{safe_name(name, 'subject')}.nii.gz"


def _from_volumes(case: Case, table: Mapping[int, int], root: Path) -> tuple[Path, Path | None]:
    image = case.image.resolve()
    check_image_file(image)
    if case.label is None:
        return image, None
    label = read_volume(case.label)
    found, shape = (*label.shape[1:], *label.shape[:1]), _shape(image)
    if found != shape:
        raise ValueError(f"{case.label}: the label has shape {_shown(found)}, its image {case.image} {_shown(shape)}.")
    path = _target(root, "labels", case)
    classes = map_values(label.as_tensor()[0].numpy(), table, str(case.label))
    write_nifti(path, classes, np.asarray(label.affine, dtype=np.float64))
    return image, path


def _shape(path: Path) -> tuple[int, ...]:
    """Three axes and a number of volumes; from the header alone, since images are large and stay where they are."""
    import nibabel as nib

    image: Any = nib.load(path)
    axes, more = (*image.shape, 1, 1)[:3], image.shape[3:]
    return (*axes, int(np.prod(more)))


def _shown(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if shape[3] > 1 else shape[:3]


def _from_slices(case: Case, table: Mapping[int, int], root: Path) -> tuple[Path, Path | None]:
    image, places = read_series(case.image, case.series)
    path, label = _target(root, "images", case), None
    if case.label is not None:
        classes = map_values(read_pictures(case.label, image, places), table, str(case.label))
        label = write_nifti(_target(root, "labels", case), classes, image.affine)
    write_nifti(path, image.array, image.affine)
    return path, label
