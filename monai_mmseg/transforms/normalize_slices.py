# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Each slice of a volume to zero mean and unit standard deviation."""

from __future__ import annotations

import torch
from monai.config import KeysCollection
from monai.transforms import Transform
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata
from monai_mmseg.transforms.map_transforms import EachKeyd


class NormalizeIntensitySlices(Transform):
    """Each channel of each slice to zero mean and unit standard deviation, over all its pixels.

    Use it where a method normalises two-dimensional slices while the pipeline holds volumes; MONAI's
    ``NormalizeIntensity`` takes mean and deviation over the volume. A constant slice becomes 0. NaN (absent) stays NaN
    and is not counted.

    Args:
        eps: smallest standard deviation that is divided by.

    Raises:
        ValueError: if ``eps`` is not positive.

    Examples:
        >>> volume = torch.tensor([[1.0, 5.0], [3.0, 5.0]]).view(1, 2, 1, 2)  # two slices of two pixels
        >>> NormalizeIntensitySlices()(volume)[0, :, 0].T.tolist()
        [[-1.0, 1.0], [0.0, 0.0]]
    """

    def __init__(self, eps: float = 1e-6) -> None:
        if not eps > 0:
            raise ValueError(f"eps must be positive, got {eps}.")
        self.eps = float(eps)

    def __call__(self, img: Tensor) -> Tensor:
        """Return the normalised image, float32; a MetaTensor stays one.

        Args:
            img: ``(C, H, W, D)``, or one slice ``(C, H, W)``.

        Raises:
            ValueError: if it is neither.
        """
        if img.ndim not in (3, 4):
            raise ValueError(f"img must have shape (C, H, W) or (C, H, W, D), got {tuple(img.shape)}.")
        values = plain_tensor(img).to(torch.float32)
        centred = values - values.nanmean((1, 2), keepdim=True)
        deviation = centred.square().nanmean((1, 2), keepdim=True).sqrt()
        # below eps only rounding is left of a slice
        result = torch.where(deviation > self.eps, centred / deviation, torch.where(values.isnan(), values, 0.0))
        return with_metadata(result, img)


class NormalizeIntensitySlicesd(EachKeyd):
    """Dictionary form of :class:`NormalizeIntensitySlices`.

    Examples:
        >>> NormalizeIntensitySlicesd("image")({"image": torch.tensor([[[2.0, 4.0]]])})["image"]
        tensor([[[-1.,  1.]]])
    """

    def __init__(self, keys: KeysCollection, eps: float = 1e-6, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, NormalizeIntensitySlices(eps), allow_missing_keys)
