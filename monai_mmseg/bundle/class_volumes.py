# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Volumes of the classes in the labels that a network learned from, and predictions that are nothing like them."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.transforms import MapTransform
from torch import Tensor

from monai_mmseg.data.borrowed import has_true_label
from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.runs.model_settings import read_settings
from monai_mmseg.transforms.geometry import voxel_sizes
from monai_mmseg.transforms.read_volume import path_of, read_volume
from monai_mmseg.unannotated import UNANNOTATED

logger = logging.getLogger(__name__)

VOLUMES = "class_volumes"
"""Key of the settings beside the weights: of each class ``labels``, their number, and ``ml``, smallest and largest."""
FEWEST = 3
"""Labels below which they say nothing about other patients."""
_MOST = 64  # labels that are read, evenly over the list
_FACTOR = 2.0
"""Times below the smallest or above the largest volume of a label, from which on a prediction is told."""


class _Label(NamedTuple):
    path: str
    unknown: tuple[bool, ...]  # classes that it cannot show


def class_volumes(
    items: Iterable[Mapping[str, Any]], labels: Mapping[Any, str], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Smallest and largest volume of each class in the labels of a training.

    When to use: for the settings beside the weights, once. Labels that are borrowed or have voxels that nobody
    annotated are left out, and so is a class that a label cannot show. Of many labels 64 are read.

    Args:
        items: of a datalist that was read, flat or grouped by subject.
        labels: value to name.
        before: what the weights say that the training starts from; their labels count, too.

    Returns:
        :data:`VOLUMES` to class to ``{"labels", "ml"}``; no class where fewer than :data:`FEWEST` labels show it.

    Raises:
        FileNotFoundError: a label is not there.
        ValueError: a label cannot be read.

    Examples:
        >>> class_volumes([{"subject": "a", "image": "a.nii"}], {0: "background", 1: "LV"})
        {'class_volumes': {}}
    """
    found = list(dict.fromkeys(one for item in items for one in _labels(item)))
    size = max(map(int, labels), default=0) + 1
    rows = []
    for label in found[:: -(-len(found) // _MOST)] if found else []:
        volume = read_volume(label.path)
        values = plain_tensor(volume)[0]
        counts = _counts(values)
        if not counts[UNANNOTATED]:
            row = counts[:size].numpy() * np.prod(voxel_sizes(volume.affine, values.shape)) / 1000
            row[[value for value, hidden in enumerate(label.unknown[:size]) if hidden]] = np.nan
            rows.append(row)
    volumes = {}
    for value in range(1, size):
        known = [float(row[value]) for row in rows if not np.isnan(row[value])]
        older = (before or {}).get(str(value), {"labels": 0, "ml": []})
        count, ends = len(known) + older["labels"], [*known, *older["ml"]]
        if count >= FEWEST and str(value) in map(str, labels):
            volumes[str(value)] = {"labels": count, "ml": [round(min(ends), 4), round(max(ends), 4)]}
    return {VOLUMES: volumes}


def _counts(classes: Tensor) -> Tensor:
    """Voxels of each value from 0 to 255."""
    return torch.bincount(classes.to(torch.uint8).flatten(), minlength=UNANNOTATED + 1)


def _labels(item: Mapping[str, Any]) -> Iterator[_Label]:
    given, unknown = item.get("label"), item.get("unknown")
    if isinstance(given, Mapping):
        hidden = unknown if isinstance(unknown, Mapping) else {}
        for modality, path in given.items():
            yield _Label(str(path), tuple(hidden.get(modality, ())))
    elif isinstance(given, str) and has_true_label(item):
        yield _Label(given, tuple(unknown or ()))


def is_unlike(volume: float, known: Mapping[str, Any]) -> bool:
    """Whether a class has less than half of the smallest volume in the labels of a training, or twice the largest.

    Args:
        volume: mL.
        known: of the class, from :func:`class_volumes`.

    Examples:
        >>> [is_unlike(volume, {"labels": 8, "ml": [40.0, 90.0]}) for volume in (19, 21, 179, 181)]
        [True, False, False, True]
    """
    low, high = known["ml"]
    return bool(volume < low / _FACTOR or volume > _FACTOR * high)


class TellVolumesd(MapTransform):
    """Warns of segmentations whose classes have volumes unlike those of all labels that the network learned from.

    When to use: in the postprocessing of an inference, on the image's own grid, before they are saved. A volume is
    told that is less than half of the smallest, or more than twice the largest. Classes that some label lacks may be
    missing, and of a single slice nothing is too small.

    Args:
        keys: of the classes, ``(1, *spatial)``, with their metadata.
        weights: file of the network, whose ``settings.json`` lies beside it.
        labels: value to name.

    Raises:
        ValueError: that file is broken.

    Examples:
        >>> import tempfile
        >>> from monai.data import MetaTensor
        >>> from monai_mmseg.runs.model_settings import write_settings
        >>> pred = MetaTensor(torch.ones(1, 10, 10, 10), meta={"filename_or_obj": "s01.nii.gz"})  # 1 mL
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_settings(folder, {"class_volumes": {"1": {"labels": 8, "ml": [40.0, 90.0]}}})
        ...     tell = TellVolumesd("pred", f"{folder}/model.pt", {1: "LV"})
        >>> _ = tell({"pred": pred})  # logs "s01.nii.gz: volumes in mL unlike those of ...: LV 1 (40 to 90). ..."
    """

    def __init__(
        self, keys: Hashable | Sequence[Hashable], weights: str | os.PathLike[str], labels: Mapping[Any, str]
    ) -> None:
        super().__init__(keys)
        self.volumes: Mapping[str, Any] = read_settings(Path(weights).parent).get(VOLUMES, {})
        self.names = {str(value): str(name) for value, name in labels.items()}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Look at the segmentations of one item.

        Args:
            data: the item.

        Returns:
            A copy of it.
        """
        for key in self.key_iterator(data):
            if self.volumes and hasattr(data[key], "affine"):
                self._tell(data[key])
        return dict(data)

    def _tell(self, classes: Any) -> None:
        values: Tensor = plain_tensor(classes)
        counts = _counts(values).tolist()
        voxel = float(np.prod(voxel_sizes(classes.affine, values.shape[1:]))) / 1000
        slab = min(values.shape[1:]) == 1
        odd = []
        for value, known in self.volumes.items():
            volume, (low, high) = counts[int(value)] * voxel, known["ml"]
            if is_unlike(volume, known) and not (slab and volume < low):
                odd.append(f"{self.names.get(value, value)} {_shown(volume)} ({_shown(low)} to {_shown(high)})")
        if odd:
            number = max(known["labels"] for known in self.volumes.values())
            logger.warning(
                "%s: volumes in mL unlike those of the %d labels that the network learned from: %s. Look at it: does "
                "the image show all of the organ, in the modality that was said, upright, with voxel sizes in mm?",
                path_of(classes),
                number,
                ", ".join(odd),
            )


def _shown(volume: float) -> str:
    return f"{volume:.3g}" if volume < 100 else f"{volume:.0f}"
