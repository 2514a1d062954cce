# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Take modalities away at random, as if they had not been acquired."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import torch
from monai.transforms import MapTransform, RandomizableTransform


class RandDropModalityd(RandomizableTransform, MapTransform):
    """Modalities that are there become absent; the last one never does.

    Use it in training, so that a network learns to do without. Absent is ``present`` false and NaN, not zero. Where any
    may be missing later, ``mode="subset"`` shows the network every combination.

    Args:
        keys: images ``(M * C, *spatial)``, modality-major, of floating point.
        prob: how often.
        mode: ``"one"`` modality goes, any of them; or a ``"subset"`` is left, each that is not empty as likely, all of
            them among these.
        present_key: bool ``(M,)``, changed with the images.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        KeyError: (in a call) if nothing says which modalities are there.
        ValueError: if the mode is unknown, or (in a call) the channels cannot be divided among the modalities, an
            image cannot hold NaN, or ``present`` has another shape.

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
        mode: Literal["one", "subset"] = "one",
        present_key: str = "present",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if mode not in ("one", "subset"):
            raise ValueError(f"mode must be 'one' or 'subset', got {mode!r}.")
        self.mode, self.present_key, self.place = mode, present_key, 0.0

    def randomize(self, data: Any = None) -> None:
        """Sample whether modalities go, and which."""
        super().randomize(None)
        self.place = float(self.R.uniform())

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary without a modality, the same of all keys."""
        result = dict(data)
        self.randomize()
        if self.present_key not in result:
            raise KeyError(f"{self.present_key!r} must say which modalities are there, got {sorted(map(str, result))}.")
        present = torch.as_tensor(result[self.present_key])
        if present.ndim != 1:
            raise ValueError(
                f"{self.present_key} must have an entry for each modality, shape (M,), got {tuple(present.shape)}."
            )
        there = present.nonzero()[:, 0].tolist()
        gone = self._gone(there) if self._do_transform and len(there) > 1 else []
        for key in self.key_iterator(result):
            image = result[key]
            if image.shape[0] % len(present):
                raise ValueError(
                    f"{key} must have the same number of channels for each of {len(present)} modalities, got "
                    f"{image.shape[0]}."
                )
            if not isinstance(image, torch.Tensor) or not image.is_floating_point():
                what = image.dtype if isinstance(image, torch.Tensor) else type(image).__name__
                raise ValueError(f"{key} must be a tensor of floating point, for absent is NaN, got {what}.")
            if gone:
                result[key] = image.clone()
                result[key].unflatten(0, (len(present), -1))[gone] = torch.nan
        if gone:
            result[self.present_key] = present.clone().index_fill_(0, torch.tensor(gone), False)
        return result

    def _gone(self, there: list[int]) -> list[int]:
        if self.mode == "one":
            return [there[int(self.place * len(there))]]
        left = 1 + int(self.place * (2 ** len(there) - 1))  # bits: which stay; never none
        return [modality for bit, modality in enumerate(there) if not left >> bit & 1]
