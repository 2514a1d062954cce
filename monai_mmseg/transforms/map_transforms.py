# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Bases of dictionary transforms: an array transform for every key, and transforms of exactly one image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor


class EachKeyd(MapTransform):
    """Dictionary form of an array transform.

    Args:
        keys: entries to transform, each by itself.
        transform: the array transform.
        allow_missing_keys: do not raise when a key is missing.

    Examples:
        >>> EachKeyd("image", abs)({"image": -1, "label": -1})
        {'image': 1, 'label': -1}
    """

    def __init__(
        self, keys: KeysCollection, transform: Callable[[Any], Tensor], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with every key transformed."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result


class OneImaged(MapTransform):
    """Base of transforms that read, stack or split one image.

    Args:
        keys: the key of the image; exactly one.

    Raises:
        ValueError: if there are more.

    Examples:
        >>> from monai_mmseg.transforms import LoadImageItemd
        >>> LoadImageItemd("image").key
        'image'
    """

    def __init__(self, keys: str | Sequence[str]) -> None:
        super().__init__(keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must name one image, got {list(self.keys)}.")

    @property
    def key(self) -> Hashable:
        """Key of the image."""
        return self.keys[0]
