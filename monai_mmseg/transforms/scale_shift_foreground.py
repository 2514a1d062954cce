# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Random brightness and contrast of each modality inside of the body."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata


class RandScaleShiftForegroundd(RandomizableTransform, MapTransform):
    """Each channel times a random factor plus a random number, where there is something.

    Use it on images of :class:`~monai_mmseg.transforms.NormalizeForegroundd`: unlike MONAI's ``RandScaleIntensity`` and
    ``RandShiftIntensity`` it leaves the background at its value, from which networks know where the body is. NaN
    (absent) stays NaN.

    Args:
        keys: images ``(C, *spatial)``.
        scale: factors lie in ``[1 - scale, 1 + scale]``.
        shift: numbers lie in ``[-shift, shift]``.
        prob: how often.
        background: value of what is not the body.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        ValueError: if ``scale`` or ``shift`` is negative.

    Reference:
        Myronenko, 2018, arXiv:1810.11654: a scale of 0.1 and a shift of 0.1, in standard deviations.

    Examples:
        >>> change = RandScaleShiftForegroundd("image", scale=0.1, shift=0.1).set_random_state(0)
        >>> change({"image": torch.tensor([[0.0, 1.0], [0.0, torch.nan]])})["image"]
        tensor([[0.0000, 1.0520],
                [0.0000,    nan]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        scale: float = 0.1,
        shift: float = 0.1,
        prob: float = 1.0,
        background: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        for name, value in (("scale", scale), ("shift", shift)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}.")
        self.scale, self.shift, self.background = float(scale), float(shift), float(background)
        self._uniform = torch.zeros(2, 0)

    def randomize(self, channels: int = 0) -> None:
        """Sample whether anything changes, and factor and number of each channel."""
        super().randomize(None)
        self._uniform = torch.as_tensor(self.R.uniform(-1, 1, (2, channels)), dtype=torch.float32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with all keys changed alike."""
        result = dict(data)
        self.randomize(max((result[key].shape[0] for key in self.key_iterator(result)), default=0))
        if self._do_transform:
            for key in self.key_iterator(result):
                result[key] = self._changed(result[key])
        return result

    def _changed(self, image: Tensor) -> Tensor:
        values = plain_tensor(image)
        if not values.is_floating_point():  # a factor below 1 would be 0
            values = values.to(torch.float32)
        factor, number = (
            row[: len(values)].to(values).reshape(-1, *[1] * (values.ndim - 1))
            for row in (1 + self.scale * self._uniform[0], self.shift * self._uniform[1])
        )
        changed = torch.where(values == self.background, values, values * factor + number)
        return with_metadata(changed, image)
