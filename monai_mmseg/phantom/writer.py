# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Write phantoms: volumes, labels and datalist, all or nothing."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.files import read_record, write_json, write_nifti
from monai_mmseg.phantom.grid import Grid
from monai_mmseg.workers import in_workers

logger = logging.getLogger(__name__)

DATALIST, RECORD = "datalist.json", "phantom.json"
OUTLIERS = "outliers.json"
"""Datalist of the outlier cases, beside the one of all others."""


def is_phantom(folder: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether a folder holds the phantom with exactly these parameters.

    Args:
        folder: folder that may not exist.
        parameters: what the phantom would be made from.

    Returns:
        True if nothing has to be made.
    """
    same = read_record(folder / RECORD).get("parameters") == json.loads(json.dumps(dict(parameters)))
    return same and (folder / DATALIST).is_file()


def write_folder(folder: Path, parameters: Mapping[str, Any], fill: Callable[[Path], None]) -> Path:
    """Fill a temporary folder and rename it, so that the folder is there as a whole or not at all.

    Several processes may do so at a time: the first to finish wins, and the others take its folder.

    Args:
        folder: folder to make.
        parameters: what it is made from, kept by ``fill`` in its record.
        fill: writes everything into the folder that it is given.

    Returns:
        Path of the datalist in ``folder``.

    Raises:
        FileExistsError: ``folder`` has content other than the phantom with these parameters.
    """
    if is_phantom(folder, parameters):
        return folder / DATALIST
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"out_dir must be new, empty or hold the phantom with the same parameters, got {str(folder)!r} with "
            "other content; choose another folder or delete it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fill(partial)
        partial.chmod(0o755)  # mkdtemp makes folders that only the owner may read
        try:
            os.replace(partial, folder)
        except OSError:
            if not is_phantom(folder, parameters):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / DATALIST


def check_numbers(**numbers: tuple[Any, int]) -> None:
    """Refuse what is no whole number or too small.

    Args:
        numbers: by name, the value and the lowest one that is allowed.

    Raises:
        ValueError: the first that is wrong.
    """
    for name, (value, lowest) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise ValueError(f"{name} must be a whole number of at least {lowest}, got {value!r}.")


def millilitres(label: NDArray[np.uint8], grid: Grid, labels: Mapping[int, str]) -> dict[str, float]:
    """Volume of each label.

    Args:
        label: values of ``labels``, ``(X, Y, Z)``.
        grid: its voxels.
        labels: value to name, 0 the background.

    Returns:
        Millilitres by name, without the background.
    """
    volumes = np.bincount(label.ravel(), minlength=len(labels)) * np.prod(grid.spacing) / 1000
    return {name: round(float(volumes[value]), 3) for value, name in labels.items() if value}


def write_pair(folder: Path, name: str, volume: Any) -> dict[str, str]:
    """Write image and label.

    Args:
        folder: of the phantom.
        name: of both files, without ending.
        volume: has ``image``, ``label`` and ``grid``.

    Returns:
        Their paths, relative to the folder.
    """
    item = {"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"}
    write_nifti(folder / item["image"], volume.image, volume.grid.affine)
    write_nifti(folder / item["label"], volume.label, volume.grid.affine)
    return item


class Made(NamedTuple):
    """What one job of a phantom has written."""

    subject: str
    section: str  # training, test or outliers
    items: list[dict[str, Any]]  # of the datalist
    about: dict[str, Any]  # what is known about the subject


def write_phantom(
    out_dir: str | os.PathLike[str],
    parameters: Mapping[str, Any],
    *,
    modalities: Sequence[str],
    labels: Mapping[int, str],
    jobs: Sequence[tuple[Any, ...]],
    make: Callable[..., Made],
) -> Path:
    """Write the volumes of all subjects, their datalist and, if there are outliers, the one of these.

    Args:
        out_dir: see :func:`write_folder`.
        parameters: what the phantom is made from, ``"phantom"`` its name.
        modalities: in the order of the datalist.
        labels: value to name.
        jobs: arguments of ``make`` after the folder.
        make: writes the volumes of one job; can be pickled.

    Returns:
        Path of the datalist.

    Raises:
        FileExistsError: ``out_dir`` has other content.
    """

    def fill(folder: Path) -> None:
        items: dict[str, list[dict[str, Any]]] = {"training": [], "test": [], "outliers": []}
        truth: dict[str, Any] = {}
        name = parameters["phantom"]
        for done in in_workers(make, [(folder, *job) for job in jobs]):
            items[done.section] += done.items
            truth[done.subject] = done.about
            logger.info("%s phantom: %s", name, done.subject)
        odd = items.pop("outliers")
        head = {"modalities": list(modalities), "labels": {str(value): text for value, text in labels.items()}}
        write_json(folder / DATALIST, {"name": f"{name}_phantom", **head, **items})
        if odd:
            head["modalities"] = list(dict.fromkeys([*modalities, *(item["modality"] for item in odd)]))
            write_json(folder / OUTLIERS, {"name": f"{name}_outliers", **head, "test": odd})
        write_json(folder / RECORD, {"parameters": parameters, "subjects": truth})

    return write_folder(Path(out_dir), parameters, fill)
