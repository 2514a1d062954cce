# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Intensities to a fixed range, slice by slice or volume by volume; absent modalities stay absent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from monai.config import KeysCollection
from monai.transforms import Transform
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata
from monai_mmseg.transforms.map_transforms import EachKeyd


def scale_intensity(
    values: Tensor,
    dims: Sequence[int],
    lower: float = 0.0,
    upper: float = 100.0,
    value_range: tuple[float, float] = (-1.0, 1.0),
) -> Tensor:
    """Linear map of two percentiles to the ends of a range, clipped there.

    Source: fact sheet of DAFNet, sec. 7 (minimum and maximum of each slice to -1 and 1, a constant slice to -1).

    Args:
        values: image of any shape; NaN (absent) stays NaN and is not counted. Whole numbers become float32.
        dims: axes over which percentiles are taken.
        lower: percentile that becomes the lower end.
        upper: percentile that becomes the upper end.
        value_range: the range.

    Examples:
        >>> scale_intensity(torch.tensor([[0.0, 5.0, 10.0], [3.0, 3.0, 3.0]]), dims=[1])
        tensor([[-1.,  0.,  1.],
                [-1., -1., -1.]])
    """
    values = values if values.is_floating_point() else values.to(torch.float32)
    if lower == 0 and upper == 100:
        absent = torch.isnan(values)
        low = torch.where(absent, torch.inf, values).amin(list(dims), keepdim=True)
        high = torch.where(absent, -torch.inf, values).amax(list(dims), keepdim=True)
    else:
        low, high = _percentiles(values, list(dims), lower, upper)
    span = high - low
    share = torch.where(span > 0, (values - low) / torch.where(span > 0, span, 1.0), torch.zeros_like(values))
    bottom, top = value_range
    scaled = bottom + share.clamp(0, 1) * (top - bottom)
    return torch.where(torch.isnan(values), torch.nan, scaled).to(values.dtype)


def _percentiles(values: Tensor, dims: list[int], lower: float, upper: float) -> tuple[Tensor, Tensor]:
    kept = [axis for axis in range(values.ndim) if axis not in dims]
    rows = values.permute(*kept, *dims).flatten(len(kept)).to(torch.float64)
    # torch.quantile refuses more than 2**24 values in a row; sorting has no such limit and ignores NaN at the end
    ordered = rows.sort(dim=-1).values
    count = (~torch.isnan(rows)).sum(-1, keepdim=True)
    ends = []
    for percent in (lower, upper):
        position = (count - 1).clamp(min=0) * (percent / 100)
        below = position.floor().long()
        above = (below + 1).minimum((count - 1).clamp(min=0))
        part = position - below
        ends.append(ordered.gather(-1, below) * (1 - part) + ordered.gather(-1, above) * part)
    shape = [1 if axis in dims else values.shape[axis] for axis in range(values.ndim)]
    low, high = (end.reshape(shape).to(values.dtype) for end in ends)
    return low, high


class ScaleIntensitySlices(Transform):
    """Intensities to [-1, 1], for each slice (the paper's way) or each volume.

    Use it after the modalities are stacked; ``lower=0.5, upper=99.5`` keeps single bright
    voxels from squeezing the rest.

    Args:
        lower: percentile that becomes the lower end of the range.
        upper: percentile that becomes the upper end.
        mode: ``"slice"`` takes percentiles over rows and columns, ``"volume"`` over the slices too.
        value_range: the range.
        channel_wise: percentiles for each channel by itself; off, channels share them.

    Raises:
        ValueError: if percentiles, range or mode are not possible.

    Examples:
        >>> image = torch.tensor([0.0, 10.0, 0.0, 2.0]).reshape(1, 2, 1, 2).permute(0, 2, 3, 1)
        >>> ScaleIntensitySlices()(image)[0, 0].T.tolist()
        [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(
        self,
        lower: float = 0.0,
        upper: float = 100.0,
        mode: Literal["slice", "volume"] = "slice",
        value_range: Sequence[float] = (-1.0, 1.0),
        channel_wise: bool = True,
    ) -> None:
        if not 0 <= lower < upper <= 100:
            raise ValueError(f"percentiles must satisfy 0 <= lower < upper <= 100, got {lower} and {upper}.")
        if mode not in ("slice", "volume"):
            raise ValueError(f"mode must be 'slice' or 'volume', got {mode!r}.")
        if len(value_range) != 2 or not value_range[0] < value_range[1]:
            raise ValueError(f"value_range must be two growing numbers, got {tuple(value_range)}.")
        self.lower, self.upper, self.mode, self.channel_wise = lower, upper, mode, channel_wise
        self.value_range = (float(value_range[0]), float(value_range[1]))

    def __call__(self, img: Tensor) -> Tensor:
        """Return the scaled image; a MetaTensor stays one.

        Args:
            img: ``(C, H, W, D)``, or one slice ``(C, H, W)``.

        Raises:
            ValueError: if it is neither.
        """
        if img.ndim not in (3, 4):
            raise ValueError(f"img must have shape (C, H, W) or (C, H, W, D), got {tuple(img.shape)}.")
        dims = [1, 2] if self.mode == "slice" or img.ndim == 3 else [1, 2, 3]
        if not self.channel_wise:
            dims = [0, *dims]
        array = plain_tensor(img)
        scaled = scale_intensity(array.to(torch.float32), dims, self.lower, self.upper, self.value_range)
        return with_metadata(scaled, img)


class ScaleIntensitySlicesd(EachKeyd):
    """Dictionary form of :class:`ScaleIntensitySlices`.

    Examples:
        >>> ScaleIntensitySlicesd("image")({"image": torch.tensor([[[2.0, 4.0]]])})["image"]
        tensor([[[-1.,  1.]]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        lower: float = 0.0,
        upper: float = 100.0,
        mode: Literal["slice", "volume"] = "slice",
        value_range: Sequence[float] = (-1.0, 1.0),
        channel_wise: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        scale = ScaleIntensitySlices(lower, upper, mode, value_range, channel_wise)
        super().__init__(keys, scale, allow_missing_keys)
