# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers that describe a datalist: intensities, spacings, sizes and label volumes of each modality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.transforms.read_volume import read_volume

PERCENTILES = (0.5, 5.0, 50.0, 95.0, 99.5)


def datalist_statistics(path: str | Path, section: str = "training") -> dict[str, Any]:
    """Measure a section of a datalist.

    Use it to choose a spacing and a size for the network, and to see whether intensities need percentiles.

    Args:
        path: the datalist.
        section: ``"training"``, ``"validation"`` or ``"test"``.

    Returns:
        ``{"name", "section", "subjects", "modalities": {modality: {"images", "labelled", "intensity", "spacing",
        "shape", "label_ml"}}}``. Intensities are means over images of each image's own mean, standard deviation, ends
        and percentiles, so that large images do not outweigh small ones; spacing and shape have minimum, median and
        maximum for each axis of the file; label volumes are in ml.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file cannot be read.
    """
    datalist = read_datalist(path)
    items = datalist.items(section)
    result: dict[str, Any] = {
        "name": datalist.name,
        "section": section,
        "subjects": len({item["subject"] for item in items}),
        "modalities": {},
    }
    for modality in datalist.modalities:
        mine = [item for item in items if item["modality"] == modality]
        if mine:
            result["modalities"][modality] = _modality_statistics(mine, datalist.labels)
    return result


def intensity_numbers(image: NDArray[Any]) -> list[float]:
    """Mean, standard deviation, ends and percentiles of one image.

    Args:
        image: voxels, any shape.

    Returns:
        The numbers, as :func:`mean_intensities` takes them.

    Examples:
        >>> intensity_numbers(np.arange(101))
        [50.0, 29.154759474226502, 0.0, 100.0, 0.5, 5.0, 50.0, 95.0, 99.5]
    """
    values = np.asarray(image, dtype=np.float64)
    ends = [values.mean(), values.std(), values.min(), values.max(), *np.percentile(values, PERCENTILES)]
    return [float(value) for value in ends]


def mean_intensities(images: Sequence[Sequence[float]]) -> dict[str, float]:
    """Means over images of each image's own numbers, by name.

    Args:
        images: of :func:`intensity_numbers`.

    Returns:
        ``mean``, ``std``, ``min``, ``max`` and ``p0.5`` to ``p99.5``.

    Examples:
        >>> mean_intensities([[1.0, 0, 1, 1, 1, 1, 1, 1, 1], [2.0, 0, 2, 2, 2, 2, 2, 2, 2]])["p99.5"]
        1.5
    """
    names = ["mean", "std", "min", "max", *(f"p{percent:g}" for percent in PERCENTILES)]
    return dict(zip(names, _rounded(np.mean(images, axis=0)), strict=True))


def _modality_statistics(items: Sequence[dict[str, Any]], labels: dict[int, str]) -> dict[str, Any]:
    intensities, spacings, shapes = [], [], []
    volumes: dict[str, list[float]] = {name: [] for value, name in labels.items() if value != 0}
    for item in items:
        image = read_volume(item["image"])
        columns = np.asarray(image.affine, dtype=np.float64)[:3, :3]
        spacings.append(np.linalg.norm(columns, axis=0))
        shapes.append(np.array(image.shape[1:]))
        intensities.append(intensity_numbers(image.as_tensor().numpy()))
        if "label" in item:
            label = read_volume(item["label"]).as_tensor()
            ml = abs(float(np.linalg.det(columns))) / 1000
            for value, name in labels.items():
                if value != 0:
                    volumes[name].append(float((label == value).sum()) * ml)
    return {
        "images": len(items),
        "labelled": sum("label" in item for item in items),
        "intensity": mean_intensities(intensities),
        "spacing": _range(np.array(spacings)),
        "shape": _range(np.array(shapes, dtype=np.float64)),
        "label_ml": {name: _range(np.array(ml)) for name, ml in volumes.items() if ml},
    }


def _rounded(values: ArrayLike) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), 5).tolist()


def _range(values: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "min": _rounded(values.min(axis=0)),
        "median": _rounded(np.median(values, axis=0)),
        "max": _rounded(values.max(axis=0)),
    }
