# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Zero mean and unit standard deviation inside the body, one value outside."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from torch import Tensor

__all__ = ["NormalizeForeground", "NormalizeForegroundd"]


class NormalizeForeground(Transform):
    """Each channel to zero mean and unit standard deviation over its foreground; one value for the rest.

    Use it for images whose background was taken away (brains without skull). MONAI's ``NormalizeIntensity`` with
    ``nonzero=True`` does the same for a background of 0 and has no other. NaN (absent) stays NaN.

    Args:
        background: value of what is not foreground: 0 is the mean of the foreground; -10 lies far below it, as in the
            data of Ouyang et al. (IPMI 2021), whose PSNR depends on it.
        threshold: foreground is what is larger.
        eps: smallest standard deviation that is divided by.

    Raises:
        ValueError: if ``eps`` is not positive.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456. Differs from the original code, which divides by the number of
        foreground voxels plus one.

    Example:
        >>> NormalizeForeground(background=-10)(torch.tensor([[0.0, 1.0, 3.0]]))
        tensor([[-10.,  -1.,   1.]])
    """

    def __init__(self, background: float = 0.0, *, threshold: float = 0.0, eps: float = 1e-8) -> None:
        if not eps > 0:
            raise ValueError(f"eps must be positive, got {eps}.")
        self.background, self.threshold, self.eps = float(background), float(threshold), float(eps)

    def __call__(self, img: Tensor) -> Tensor:
        """Normalise an image.

        Args:
            img: ``(C, *spatial)``.

        Returns:
            The same shape, float32; a MetaTensor stays one.

        Raises:
            ValueError: if it has no spatial axes.
        """
        if img.ndim < 2:
            raise ValueError(f"img must have shape (C, *spatial), got {tuple(img.shape)}.")
        values = (img.as_tensor() if isinstance(img, MetaTensor) else img).to(torch.float32)
        flat = values.flatten(1).double()  # sums over millions of voxels
        mask = flat > self.threshold
        count = mask.sum(1, keepdim=True).clamp(min=1)
        mean = torch.where(mask, flat, 0.0).sum(1, keepdim=True) / count
        centred = flat - mean
        deviation = (torch.where(mask, centred, 0.0).square().sum(1, keepdim=True) / count).sqrt()
        scaled = torch.where(mask, centred / deviation.clamp(min=self.eps), self.background)
        result = torch.where(flat.isnan(), flat, scaled).to(torch.float32).reshape(values.shape)
        return MetaTensor(result).copy_meta_from(img) if isinstance(img, MetaTensor) else result


class NormalizeForegroundd(MapTransform):
    """Dictionary form of :class:`NormalizeForeground`.

    Args:
        keys: images to normalise.
        background: see :class:`NormalizeForeground`.
        threshold: see there.
        eps: see there.
        allow_missing_keys: do not raise when a key is missing.

    Example:
        >>> NormalizeForegroundd("image")({"image": torch.tensor([[0.0, 1.0, 3.0]])})["image"]
        tensor([[ 0., -1.,  1.]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        background: float = 0.0,
        *,
        threshold: float = 0.0,
        eps: float = 1e-8,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.normalize = NormalizeForeground(background, threshold=threshold, eps=eps)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise every key.

        Args:
            data: dictionary of images.

        Returns:
            A copy of the dictionary with normalised images.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.normalize(result[key])
        return result
