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
from monai_mmseg.data.visits import person_of
from monai_mmseg.preparation.check import sound_datalist
from monai_mmseg.preparation.intensities import mean_intensities
from monai_mmseg.preparation.volume_facts import VolumeFacts


def datalist_statistics(path: str | Path, section: str = "training") -> dict[str, Any]:
    """Measure a section of a datalist.

    Use it to choose a spacing and a size for the network, and to see whether intensities need percentiles. The checks
    of :func:`~monai_mmseg.preparation.check_datalist` come with it: what is broken is not counted, and warnings are
    logged.

    Args:
        path: the datalist.
        section: ``"training"``, ``"validation"`` or ``"test"``.

    Returns:
        ``{"name", "section", "subjects", "modalities": {modality: {"images", "labelled", "intensity", "spacing",
        "shape", "label_ml"}}}``. Intensities are means over images of each image's own mean, standard deviation, ends
        and percentiles, so that large images do not outweigh small ones; spacing and shape have minimum, median and
        maximum for each axis of the file; label volumes are in ml.

    Raises:
        FileNotFoundError: if there is no such datalist.
        KeyError: if it has no such section.
        ValueError: if something in it is broken; the message lists it.
    """
    datalist = read_datalist(path)
    items = datalist.items(section)
    report = sound_datalist(path, section=section, statistics=True)
    result: dict[str, Any] = {
        "name": datalist.name,
        "section": section,
        "subjects": len({person_of(item) for item in items}),
        "modalities": {},
    }
    for modality in datalist.modalities:
        if mine := [volume for volume in report.volumes if volume.modality == modality]:
            result["modalities"][modality] = _modality_statistics(mine)
    return result


def _modality_statistics(volumes: Sequence[VolumeFacts]) -> dict[str, Any]:
    labelled = [volume.label_ml for volume in volumes if volume.label_ml is not None]
    return {
        "images": len(volumes),
        "labelled": len(labelled),
        "intensity": mean_intensities([volume.intensity for volume in volumes if volume.intensity is not None]),
        "spacing": _range(np.array([volume.spacing for volume in volumes])),
        "shape": _range(np.array([volume.shape for volume in volumes], dtype=np.float64)),
        "label_ml": {
            name: _range(np.array([ml[name] for ml in labelled if name in ml]))
            for name in dict.fromkeys(name for ml in labelled for name in ml)
        },
    }


def _rounded(values: ArrayLike) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), 5).tolist()


def _range(values: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "min": _rounded(values.min(axis=0)),
        "median": _rounded(np.median(values, axis=0)),
        "max": _rounded(values.max(axis=0)),
    }
