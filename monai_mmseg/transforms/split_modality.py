# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One of several modalities becomes what a network shall make of the others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch

from monai_mmseg.meta_tensors import with_metadata
from monai_mmseg.transforms.map_transforms import OneImaged


class SplitModalityd(OneImaged):
    """Take one modality out of the image, as target.

    Use it after :class:`~monai_mmseg.transforms.ResampleModalitiesd`, where a modality (a PET) is to be made of the
    others.

    Args:
        keys: the key of the image ``(M, *spatial)``; exactly one.
        modalities: M names, in the order of the channels.
        target: one of them.
        target_key: key of what is taken out, ``(1, *spatial)``; zeros where it is absent.
        present_key: bool ``(M,)``, which loses the entry of the target.
        labelled_key: whether the target is there, bool without axes.

    Raises:
        ValueError: if ``target`` is none of the modalities or the only one, or (in a call) the image
            has other channels.

    Examples:
        >>> split = SplitModalityd(modalities=["t1", "flair", "pet"], target="pet")
        >>> out = split({"image": torch.rand(3, 4, 4, 4), "present": torch.tensor([True, False, True])})
        >>> tuple(out["image"].shape), tuple(out["target"].shape), out["present"].tolist(), out["labelled"].item()
        ((2, 4, 4, 4), (1, 4, 4, 4), [True, False], True)
    """

    def __init__(
        self,
        keys: str | Sequence[str] = "image",
        *,
        modalities: Sequence[str],
        target: str,
        target_key: str = "target",
        present_key: str = "present",
        labelled_key: str = "labelled",
    ) -> None:
        super().__init__(keys)
        self.modalities = [str(name) for name in modalities]
        if target not in self.modalities or len(self.modalities) < 2:
            raise ValueError(f"target must be one of at least two modalities {self.modalities}, got {target!r}.")
        self.target, self.target_key = target, target_key
        self.present_key, self.labelled_key = present_key, labelled_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary, split."""
        result = dict(data)
        image, present = result[self.key], torch.as_tensor(result[self.present_key])
        count, place = len(self.modalities), self.modalities.index(self.target)
        if image.shape[0] != count or present.shape != (count,):
            raise ValueError(
                f"image and {self.present_key} must have an entry for each modality of {self.modalities}, got shapes "
                f"{tuple(image.shape)} and {tuple(present.shape)}."
            )
        others = [n for n in range(count) if n != place]
        labelled = bool(present[place])
        target = image[place : place + 1]
        if not labelled:
            target = with_metadata(torch.zeros(tuple(target.shape), dtype=target.dtype), target)
        result[self.key], result[self.target_key] = image[others], target
        result[self.present_key], result[self.labelled_key] = present[others], torch.tensor(labelled)
        return result
