# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From a volume as it is stored to the slices that a network sees; can be inverted."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform, ResizeWithPadOrCropd, SpatialPadd

from monai_mmseg.transforms.geometry import SliceAxis
from monai_mmseg.transforms.orient_slices import OrientSlicesd
from monai_mmseg.transforms.spacing import SafeSpacingd, SpacingInPlaned


class ToSliceGridd(MapTransform, InvertibleTransform):
    """Slices last and in one orientation, of one spacing, padded or cropped to one size.

    When to use: behind the loading of volumes, for networks of slices or of windows of slices. Images are interpolated
    and padded with what is at their edge; of labels the nearest is taken, and they are padded with zero.

    Args:
        keys: volumes, each by its own affine; the label may be missing.
        spatial_size: rows and columns; a third number is the smallest number of slices, below which the last are
            repeated.
        pixdim: spacing in mm. Two numbers: within the slices. Three: slices are resampled too. ``None``: as stored.
        slice_axis: see :class:`OrientSlices`.
        label_key: which of the keys is a label.

    Examples:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> volume = MetaTensor(torch.zeros(1, 5, 64, 48), affine=torch.diag(torch.tensor([8.0, 1.0, 1.0, 1.0])))
        >>> to_grid = ToSliceGridd("image", spatial_size=[32, 32], pixdim=[2.0, 2.0])
        >>> slices = to_grid({"image": volume})
        >>> tuple(slices["image"].shape), tuple(to_grid.inverse(slices)["image"].shape)
        ((1, 32, 32, 5), (1, 5, 64, 48))
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        *,
        spatial_size: Sequence[int],
        pixdim: Sequence[float] | None = None,
        slice_axis: SliceAxis = "auto",
        label_key: Hashable = "label",
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys=True)
        if isinstance(spatial_size, int) or len(spatial_size) not in (2, 3):
            raise ValueError(f"spatial_size must be two or three numbers, got {spatial_size}.")
        self.label_key = label_key
        nearest = ["nearest" if key == label_key else "bilinear" for key in self.keys]
        border = ["constant" if key == label_key else "edge" for key in self.keys]
        steps: list[Any] = [OrientSlicesd(self.keys, slice_axis, allow_missing_keys=True)]
        if pixdim is not None:
            spacing = SafeSpacingd if len(pixdim) == 3 else SpacingInPlaned
            steps.append(spacing(self.keys, pixdim, mode=nearest, allow_missing_keys=True))
        steps.append(ResizeWithPadOrCropd(self.keys, [*spatial_size[:2], -1], mode=border, allow_missing_keys=True))
        if len(spatial_size) == 3:
            steps.append(SpatialPadd(self.keys, [-1, -1, spatial_size[2]], mode="edge", allow_missing_keys=True))
        self.steps = steps

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring every key to the grid.

        Args:
            data: dictionary of channel-first volumes.

        Returns:
            A copy of the dictionary with volumes ``(channels, rows, columns, slices)``.

        Raises:
            KeyError: a key other than that of the label is missing.
        """
        if missing := [key for key in self.keys if key not in data and key != self.label_key]:
            raise KeyError(f"ToSliceGridd needs the keys {missing}, there are {sorted(map(str, data))}.")
        result = dict(data)
        for step in self.steps:
            result = step(result)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring every key back to the grid of its file.

        Args:
            data: dictionary of volumes that carry the trace of this transform.

        Returns:
            A copy of the dictionary.
        """
        result = dict(data)
        for step in reversed(self.steps):
            result = step.inverse(result)
        return result
