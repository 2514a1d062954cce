# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Read one image with its label, the first step of every unpaired pipeline."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from monai_mmseg.transforms.image_files import VolumeError
from monai_mmseg.transforms.map_transforms import OneImaged
from monai_mmseg.transforms.read_volume import (
    check_image_values,
    check_label_values,
    check_same_grid,
    path_of,
    read_one_volume,
)


class LoadImageItemd(OneImaged):
    """Image and label of one item of a datalist, checked while they are still as in their files.

    When to use: where every image is an item of its own, whatever the subject. Beside reading, it refuses what training
    would only show as a bad result: NaN, a label on another grid than its image, a label value that nobody declared.
    Arrays that are loaded already pass through. It is no subclass of ``LoadImaged``: MONAI Label wraps those in a way
    that takes anything but a string for an array.

    Args:
        keys: the key of the image; exactly one.
        label_key: the key of the label; ``None`` reads no labels.
        labels: allowed label values, a sequence, or a mapping whose keys are the values; ``None`` does not check.
        modality_key: the key of the modality.
        default_modality: modality of items that name none (those of MONAI Label and of federated clients); ``None``
            leaves them without one.

    Returns:
        (of a call) the dictionary with ``image``, MetaTensor ``(1, X, Y, Z)``; ``label`` likewise, or no such key;
        ``labelled``, a bool; the modality; ``subject``.

    Raises:
        ValueError: if `keys` are several, or (in a call) a file cannot be used; the message has its path.
        FileNotFoundError: (in a call) if there is no such file.

    Examples:
        >>> out = LoadImageItemd(default_modality="mr")({"image": torch.rand(1, 8, 8, 3)})
        >>> tuple(out["image"].shape), out["modality"], out["labelled"]
        ((1, 8, 8, 3), 'mr', False)
    """

    def __init__(
        self,
        keys: str = "image",
        *,
        label_key: str | None = "label",
        labels: Mapping[Any, Any] | Iterable[int] | None = None,
        modality_key: str = "modality",
        default_modality: str | None = None,
    ) -> None:
        super().__init__(keys)
        self.label_key, self.modality_key, self.default_modality = label_key, modality_key, default_modality
        self.labels = None if labels is None else sorted(int(value) for value in labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read one item: a dictionary with the image and maybe a label."""
        result = dict(data)
        image = _one_volume(result[self.key])
        check_image_values(image)
        label = result.pop(self.label_key, None) if self.label_key is not None else None
        if label is not None:
            label = _one_volume(label)
            check_same_grid(image, label)
            check_label_values(label, self.labels, ignore=data.get("ignore"), unknown=data.get("unknown"))
            result[self.label_key] = label
            if "unknown" in data:
                result["unknown"] = torch.as_tensor(data["unknown"])
        result[self.key] = image
        result["labelled"] = label is not None
        if self.modality_key not in result and self.default_modality is not None:
            result[self.modality_key] = self.default_modality
        if isinstance(result.get("subject"), str):
            image.meta["subject"] = result["subject"]  # files that are written later are named after it
            if "prediction" in result:
                image.meta["prediction"] = result["prediction"]
        else:
            result["subject"] = path_of(image)
        return result


def _one_volume(source: Any) -> MetaTensor:
    if not isinstance(source, str | Path | torch.Tensor) and not hasattr(source, "__array__"):
        raise VolumeError(f"an item names one image and one label, got {source!r}.")
    return read_one_volume(source)
