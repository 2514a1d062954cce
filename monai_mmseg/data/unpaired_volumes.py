# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Volumes of several modalities of different patients, read once; what both unpaired data sets stand on."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from monai_mmseg.data.disk_arrays import DiskArray, Rows
from monai_mmseg.data.volume_dataset import Cache, VolumeDataset
from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.transforms.slice_window import foreground_slices


class Volume(NamedTuple):
    """One transformed image, as plain tensors; the data sets put first what they cut along."""

    image: Rows  # (C, X, Y, Z), float32, finite
    label: Rows | None  # (1, X, Y, Z), integers; None: not annotated
    foreground: Tensor  # (Z,), bool: whether there is foreground in a slice
    subject: str
    extra: dict[Hashable, Any]


class UnpairedVolumes(VolumeDataset[Volume]):
    """Flat items, each with the modality it belongs to, and their transformed volumes; base of the unpaired data sets.

    Arguments are those of :class:`~monai_mmseg.data.UnpairedVolumeDataset`, whose ``patch_transform`` is `augment`.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        *,
        modalities: Sequence[str],
        default_modality: str | None = None,
        augment: Callable[[dict[Hashable, Any]], Any] | None = None,
        cache: Cache | bool = "memory",
        cache_dir: str | os.PathLike[str] | None = None,
        extra_keys: Sequence[str] = (),
    ) -> None:
        self.extra_keys = tuple(extra_keys)
        super().__init__(data, transform, augment, cache, cache_dir)
        self.modalities = [str(name) for name in modalities]
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be distinct names, one at least, got {self.modalities}.")
        if default_modality is None and len(self.modalities) == 1:
            default_modality = self.modalities[0]
        if default_modality is not None and default_modality not in self.modalities:
            raise ValueError(f"default_modality must be one of {self.modalities}, got {default_modality!r}.")
        self.default_modality = default_modality
        if not self.data:
            raise ValueError("data must hold one item at least, got none.")
        self.volume_modalities = [self._modality_of(item) for item in self.data]
        sets = [item["unknown"] for item in self.data if "unknown" in item]
        self._all_known = [False] * len(sets[0]) if sets else None  # a batch has this key for all rows or for none

    def _finished(self, item: dict[Hashable, Any], index: int, number: int) -> Any:
        """Augmented sample, or a list of them, with everything that a batch carries."""
        labelled = item.get("label") is not None
        if not labelled:
            shape = (1, *item["image"].shape[1:])
            # of a volume a view of one number, from which a window is copied
            none = torch.zeros((), dtype=torch.int16).expand(shape)
            item["label"] = none if len(shape) > 3 else none.clone()
        made = self._augmented(item, int(index), getattr(index, "draw", 0))
        if isinstance(made, list):
            return [self._sample(one, number, labelled) for one in made]
        return self._sample(made, number, labelled)

    def _sample(self, item: Mapping[Hashable, Any], number: int, labelled: bool) -> dict[Hashable, Any]:
        label = plain_tensor(item["label"])
        return {
            "image": plain_tensor(item["image"]).to(torch.float32),
            # MONAI's resampling gives labels as floating-point numbers
            "label": (label.round() if label.is_floating_point() else label).to(torch.int64),
            "modality": torch.tensor(self.volume_modalities[number]),
            "labelled": torch.tensor(labelled),
            **self._unknown(number),
            "subject": item["subject"],
            **({"slice": item["slice"]} if "slice" in item else {}),
        }

    def _unknown(self, number: int) -> dict[Hashable, Any]:
        """Which classes the label of a volume cannot show, if labels of this data set differ in that."""
        if self._all_known is None:
            return {}
        return {"unknown": torch.tensor(self.data[number].get("unknown", self._all_known))}

    def _load(self, number: int) -> Volume:
        item = dict(self.data[number])
        item.setdefault("modality", self.modalities[self.volume_modalities[number]])
        made = self.transform(item)
        for key in ("image", "label"):
            if isinstance(made.get(key), str | Path) or (key == "image" and key not in made):
                raise ValueError(f"transform must read {key}, as LoadImageItemd does, got {made.get(key)!r}.")
        image = plain_tensor(torch.as_tensor(made["image"])).to(torch.float32).contiguous()
        if image.ndim != 4:
            raise ValueError(f"transform must give image (C, X, Y, Z), got {tuple(image.shape)} for {_name(item)}.")
        if not torch.isfinite(image).all():
            raise ValueError(f"the image of {_name(item)} holds NaN or infinite values after the transform.")
        label = made.get("label") if made.get("labelled", True) else None
        if label is not None:
            label = plain_tensor(torch.as_tensor(label))
            if label.shape != (1, *image.shape[1:]):
                raise ValueError(
                    f"transform must give label (1, X, Y, Z) on the grid of the image {tuple(image.shape)}, got "
                    f"{tuple(label.shape)} for {_name(item)}."
                )
            label = (label.round() if label.is_floating_point() else label).to(torch.int16).contiguous()
        foreground = torch.zeros(image.shape[-1], dtype=torch.bool) if label is None else foreground_slices(label)
        if missing := [key for key in self.extra_keys if key not in made]:
            raise ValueError(f"extra_keys must be made by transform, which gives {sorted(map(str, made))}: {missing}.")
        subject = str(made.get("subject", item.get("subject", number)))
        return Volume(image, label, foreground, subject, {key: made[key] for key in self.extra_keys})

    def _kind(self) -> list[Any]:
        return [list(self.extra_keys)]

    def _named(self, volume: Volume, number: int) -> Volume:
        name, shares = self.data[number].get("subject"), self.store is not None and self.store.shares
        extra = {key: one[:] if isinstance(one, DiskArray) else one for key, one in volume.extra.items()}
        return volume._replace(extra=extra, subject=name if shares and isinstance(name, str) else volume.subject)

    def _modality_of(self, item: Mapping[str, Any]) -> int:
        name = item.get("modality", self.default_modality)
        if name is None:
            raise ValueError(
                f"default_modality must be one of {self.modalities} where items name no modality, as {_name(item)}."
            )
        if name not in self.modalities:
            raise ValueError(f"modality of {_name(item)} must be one of {self.modalities}, got {name!r}.")
        return self.modalities.index(name)


def _name(item: Mapping[str, Any]) -> str:
    image = item.get("image")
    return repr(image) if isinstance(image, str) else f"an item with {sorted(map(str, item))}"
