# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Random windows of any size, a share of them around a voxel of an organ."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform
from torch import Tensor

from monai_mmseg.unannotated import is_foreground

PLACES = "foreground"
"""Key of what :class:`ForegroundPlacesd` adds."""


class ForegroundPlacesd(Transform):
    """Where the foreground of a label is, found once, for :class:`RandForegroundWindowd`.

    Args:
        label_key: of the label ``(1, *spatial)``.

    Examples:
        >>> ForegroundPlacesd()({"label": torch.tensor([[0, 2, 0, 1]])})["foreground"].tolist()
        [1, 3]
    """

    def __init__(self, label_key: str = "label") -> None:
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add ``foreground``: places in the flat label, int32 ``(N,)``."""
        flat = torch.as_tensor(data[self.label_key])
        flat = (flat.as_tensor() if isinstance(flat, MetaTensor) else flat).flatten()
        return {**data, PLACES: is_foreground(flat).nonzero()[:, 0].to(torch.int32)}


class RandForegroundWindowd(MapTransform, Randomizable):
    """One random window; with probability `share` its middle is a voxel of the foreground, else it lies anywhere.

    When to use: to train on large volumes that are kept in memory or on disk, in place of MONAI's
    ``RandCropByPosNegLabeld``: a step reads the window alone, neither the volume nor a list of all its voxels. A window
    that would leave the volume is moved inside; so a voxel near the border is not in the middle. Without foreground it
    lies anywhere. Results are tensors without metadata.

    Args:
        keys: of what is cut, ``(C, *spatial)``, all of one spatial size.
        spatial_size: of the window; at most that of the volume (``SpatialPadd`` makes it so).
        share: of windows around the foreground, 0 to 1.

    Raises:
        KeyError: (in a call) if :class:`ForegroundPlacesd` did not come before.
        ValueError: if an argument is out of range, or (in a call) a volume is smaller than the window.

    Examples:
        >>> label = torch.zeros(1, 8, 8, 8)
        >>> label[0, 4, 4, 4] = 1
        >>> item = ForegroundPlacesd()({"label": label})
        >>> RandForegroundWindowd("label", (3, 3, 1), share=1.0)(item)["label"][0, 1, 1, 0].item()
        1.0
    """

    def __init__(self, keys: KeysCollection, spatial_size: Sequence[int], share: float = 0.5) -> None:
        super().__init__(keys)
        self.spatial_size = tuple(int(size) for size in spatial_size)
        if not self.spatial_size or min(self.spatial_size) < 1:
            raise ValueError(f"spatial_size must be sizes of at least 1, got {spatial_size!r}.")
        if not 0 <= share <= 1:
            raise ValueError(f"share must lie in [0, 1], got {share}.")
        self.share = float(share)

    def randomize(self, data: Any) -> list[int]:
        """First voxels of the window for ``data``: spatial size of the volume, and places of the foreground."""
        size, places = data
        # always as many numbers, so that the next call does not depend on what this one chose
        kind, which, *anywhere = self.R.uniform(size=2 + len(size)).tolist()
        room = [whole - part for whole, part in zip(size, self.spatial_size, strict=True)]
        count = places.shape[0]
        if kind >= self.share or not count:
            return [int(place * (free + 1)) for place, free in zip(anywhere, room, strict=True)]
        chosen = int(which * count)
        centre = torch.unravel_index(places[chosen : chosen + 1][0].long(), size)
        starts = [int(place) - part // 2 for place, part in zip(centre, self.spatial_size, strict=True)]
        return [min(max(start, 0), free) for start, free in zip(starts, room, strict=True)]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut one window; ``foreground`` is gone afterwards."""
        result = dict(data)
        if PLACES not in result:
            raise KeyError(f"{PLACES!r} must say where the foreground is: put ForegroundPlacesd in front.")
        places = result.pop(PLACES)
        size = tuple(result[self.keys[0]].shape[1:])
        if len(size) != len(self.spatial_size) or any(w > s for w, s in zip(self.spatial_size, size, strict=True)):
            raise ValueError(
                f"volumes must be at least of the size {self.spatial_size}, got {size}; SpatialPadd helps."
            )
        starts = self.randomize((size, places))
        ends = [start + part for start, part in zip(starts, self.spatial_size, strict=True)]
        cut = (slice(None), *map(slice, starts, ends))
        for key in self.keys:
            if tuple(result[key].shape[1:]) != size:
                raise ValueError(
                    f"{key} must have the size {size} as {self.keys[0]}, got {tuple(result[key].shape[1:])}."
                )
            whole: Tensor = result[key].as_tensor() if isinstance(result[key], MetaTensor) else result[key]
            result[key] = whole[cut].clone()
        return result
