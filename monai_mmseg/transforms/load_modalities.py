# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Read the modalities of one subject, each on its own grid."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.data import MetaTensor

from monai_mmseg.transforms.map_transforms import OneImaged
from monai_mmseg.transforms.read_volume import (
    check_image_values,
    check_label_values,
    check_same_grid,
    path_of,
    read_one_volume,
    read_volume,
)


class LoadImageModalitiesd(OneImaged):
    """All modalities of one subject, each as it lies in its file; the first step of every paired pipeline.

    ``image`` may be

    * a mapping from modality to file (what :func:`~monai_mmseg.data.group_by_subject` makes),
    * the path of a 3D file: the modality `default_modality`; with `siblings`, the other modalities are files of the
      same name in sub-folders beside it,
    * the path of a 4D file: modalities last, all on one grid, in the order of `modalities`; a modality that is NaN
      throughout is absent, fewer NaN are an error,
    * a tensor that is loaded already: ``(1, X, Y, Z)`` or ``(M, X, Y, Z)``, treated as the files above.

    One modality becomes the *frame*, on whose grid everything else is placed later: the target where the subject has
    it, else the first that is present. It is no subclass of ``LoadImaged``: MONAI Label wraps those in a way that takes
    anything but a string for an array.

    Args:
        keys: the key of the image; exactly one.
        modalities: names, in the order of the network's channels.
        target: the modality that is to be segmented, one of `modalities`.
        label_key: the key of the label, a mapping from modality to file or one path; ``None`` reads no labels.
        siblings: modality to sub-folder, for 3D files whose other modalities lie in sub-folders beside them.
        default_modality: modality of a single 3D file; default is `target`.
        stack_label: whose label comes with a 4D file: that of the ``"target"`` only, or of ``"all"`` modalities (they
            then share it, or the label file is 4D as well).
        labels: allowed label values, a sequence, or a mapping whose keys are the values; ``None`` does not check.

    Returns:
        (of a call) the dictionary with ``image``: the frame, MetaTensor ``(1, X, Y, Z)``; ``label`` likewise where the
        frame has one (else the key is removed); ``siblings``: ``{modality: {"image": MetaTensor, "label": MetaTensor or
        None}}``; ``frame``: index of the frame modality; ``present`` and ``labelled``: bool ``(M,)``; ``subject``: a
        name.

    Raises:
        ValueError: if the arguments contradict each other, or (in a call) a file cannot be used; the message has
            its path.

    Examples:
        >>> load = LoadImageModalitiesd("image", modalities=["cine", "lge"], target="lge")
        >>> out = load({"image": torch.rand(2, 8, 8, 3)})
        >>> out["frame"], tuple(out["image"].shape), list(out["siblings"]), out["present"].tolist()
        (1, (1, 8, 8, 3), ['cine'], [True, True])
    """

    def __init__(
        self,
        keys: str | Sequence[str] = "image",
        *,
        modalities: Sequence[str],
        target: str,
        label_key: str | None = "label",
        siblings: Mapping[str, str] | None = None,
        default_modality: str | None = None,
        stack_label: Literal["target", "all"] = "target",
        labels: Mapping[Any, Any] | Iterable[int] | None = None,
    ) -> None:
        super().__init__(keys)
        self.modalities = [str(name) for name in modalities]
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be distinct names, got {self.modalities}.")
        self.default_modality = target if default_modality is None else default_modality
        named = {"target": [target], "default_modality": [self.default_modality], "siblings": list(siblings or {})}
        for argument, names in named.items():
            if unknown := [name for name in names if name not in self.modalities]:
                raise ValueError(f"{argument} must name modalities of {self.modalities}, got {unknown}.")
        if stack_label not in ("target", "all"):
            raise ValueError(f"stack_label must be 'target' or 'all', got {stack_label!r}.")
        self.target, self.label_key, self.stack_label = target, label_key, stack_label
        self.siblings = dict(siblings or {})
        self.labels = None if labels is None else sorted(int(value) for value in labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read one subject: a dictionary with the image and maybe a label."""
        result = dict(data)
        source = result[self.key]
        label = result.pop(self.label_key, None) if self.label_key is not None else None
        images, labels = self._read(source, label)
        unknown = result.pop("unknown", {})
        if not images:
            raise ValueError(f"{_describe(source)}: none of the modalities {self.modalities} is present.")
        for name, volume in labels.items():
            check_same_grid(images[name], volume)
            check_label_values(volume, self.labels, ignore=data.get("ignore"), unknown=unknown.get(name))
        frame = self.target if self.target in images else next(name for name in self.modalities if name in images)
        result[self.key] = images[frame]
        if self.label_key is not None and frame in labels:
            result[self.label_key] = labels[frame]
            result |= {"unknown": torch.as_tensor(unknown[frame])} if frame in unknown else {}
        result["siblings"] = {
            name: {"image": images[name], "label": labels.get(name)}
            for name in self.modalities
            if name in images and name != frame
        }
        result["frame"] = self.modalities.index(frame)
        result["present"] = torch.tensor([name in images for name in self.modalities])
        result["labelled"] = torch.tensor([name in labels for name in self.modalities])
        if isinstance(result.get("subject"), str):
            images[frame].meta["subject"] = result["subject"]  # files that are written later are named after it
        else:
            result["subject"] = path_of(images[frame])
        return result

    def _read(self, source: Any, label: Any) -> tuple[dict[str, MetaTensor], dict[str, MetaTensor]]:
        if isinstance(source, Mapping):
            if unknown := [name for name in source if name not in self.modalities]:
                raise ValueError(f"image names modalities {unknown}, known are {self.modalities}.")
            if label is not None and not isinstance(label, Mapping):
                raise ValueError(f"label must be a mapping from modality to file where image is one, got {label!r}.")
            images = {name: read_one_volume(source[name]) for name in self.modalities if name in source}
            for volume in images.values():
                check_image_values(volume)
            labels = {name: read_one_volume(path) for name, path in (label or {}).items() if path is not None}
            if lost := [name for name in labels if name not in images]:
                raise ValueError(f"label names modalities {lost} that have no image.")
            return images, labels
        volume = read_volume(source)
        if volume.shape[0] == 1:
            return self._read_beside(source, volume, label)
        return self._split(volume, label)

    def _read_beside(
        self, source: Any, volume: MetaTensor, label: Any
    ) -> tuple[dict[str, MetaTensor], dict[str, MetaTensor]]:
        check_image_values(volume)
        images = {self.default_modality: volume}
        for name, folder in self.siblings.items():
            if name == self.default_modality:
                continue
            if not isinstance(source, str | Path):
                raise ValueError(f"modality {name!r} is looked up beside the image file, but image is an array.")
            path = Path(source).parent / folder / Path(source).name
            if not path.exists():
                raise FileNotFoundError(
                    f"modality {name!r} of {source} is missing: {path} does not exist. A study with several modalities "
                    "needs every file in its sub-folder, or one 4D file with the modalities last."
                )
            images[name] = read_one_volume(path)
            check_image_values(images[name])
        labels = {} if label is None else {self.default_modality: read_one_volume(label)}
        return images, labels

    def _split(self, volume: MetaTensor, label: Any) -> tuple[dict[str, MetaTensor], dict[str, MetaTensor]]:
        count = len(self.modalities)
        if volume.shape[0] != count:
            raise ValueError(
                f"{path_of(volume)}: a 4D image must hold the {count} modalities {self.modalities} along its "
                f"last axis, got {volume.shape[0]}."
            )
        images = {
            name: _channel(volume, index)
            for index, name in enumerate(self.modalities)
            if not torch.isnan(volume[index]).all()
        }
        for name, image in images.items():
            place = self.modalities.index(name) + 1
            check_image_values(image, f"{name} (volume {place} of {count}; one that is absent is NaN throughout)")
        if label is None:
            return images, {}
        masks = read_volume(label)
        if masks.shape[0] not in (1, count):
            raise ValueError(f"{path_of(masks)}: label must hold 1 or {count} volumes, got {masks.shape[0]}.")
        names = [self.target] if self.stack_label == "target" else self.modalities
        own = masks.shape[0] == count
        return images, {
            name: _channel(masks, self.modalities.index(name) if own else 0) for name in names if name in images
        }


def _describe(source: Any) -> str:
    if isinstance(source, MetaTensor):
        return path_of(source)
    if isinstance(source, Mapping):
        return ", ".join(str(path) for path in source.values())
    return str(source) if isinstance(source, str | Path) else "image"


def _channel(volume: MetaTensor, index: int) -> MetaTensor:
    meta = {name: value for name, value in volume.meta.items() if name != "affine"}
    array = volume.as_tensor()[index : index + 1].clone()
    return MetaTensor(array, affine=torch.as_tensor(np.asarray(volume.affine)), meta=meta)
