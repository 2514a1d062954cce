# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Take a modality away at random, as if it had not been acquired."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import MapTransform, RandomizableTransform


class RandDropModalityd(RandomizableTransform, MapTransform):
    """One of the modalities that are there becomes absent; the last one never does.

    Use it in training, so that a network learns to do without. Absent is ``present`` false and NaN, not zero.

    Args:
        keys: images ``(M * C, *spatial)``, modality-major, of floating point.
        prob: how often.
        present_key: bool ``(M,)``, changed with the images.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        KeyError: (in a call) if nothing says which modalities are there.
        ValueError: (in a call) if the channels cannot be divided among the modalities.

    Examples:
        >>> drop = RandDropModalityd(prob=1.0).set_random_state(0)
        >>> out = drop({"image": torch.zeros(4, 2), "present": torch.tensor([True, True])})
        >>> out["present"].tolist(), out["image"].isnan().all(1).tolist()
        ([True, False], [False, False, True, True])
    """

    def __init__(
        self,
        keys: str = "image",
        prob: float = 0.2,
        *,
        present_key: str = "present",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.present_key, self.place = present_key, 0.0

    def randomize(self, data: Any = None) -> None:
        """Sample whether a modality goes, and which."""
        super().randomize(None)
        self.place = float(self.R.uniform())

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary without a modality, the same of all keys."""
        result = dict(data)
        self.randomize()
        if self.present_key not in result:
            raise KeyError(f"{self.present_key!r} must say which modalities are there, got {sorted(map(str, result))}.")
        present = torch.as_tensor(result[self.present_key])
        places = present.nonzero()[:, 0].tolist()
        count = len(present)
        drops = self._do_transform and len(places) > 1
        gone = places[int(self.place * len(places))] if drops else -1
        for key in self.key_iterator(result):
            image = result[key]
            if image.shape[0] % count:
                raise ValueError(
                    f"{key} must have the same number of channels for each of {count} modalities, got {image.shape[0]}."
                )
            if drops:
                channels = image.shape[0] // count
                result[key] = image.clone()
                result[key][gone * channels : (gone + 1) * channels] = torch.nan
        if drops:
            result[self.present_key] = present & (torch.arange(count) != gone)
        return result
