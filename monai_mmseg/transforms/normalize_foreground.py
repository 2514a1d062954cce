# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Zero mean and unit standard deviation inside the body, one value outside; and back to an ordinary image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata
from monai_mmseg.transforms.map_transforms import EachKeyd


def with_one_background(image: Tensor) -> tuple[Tensor, float]:
    """An image whose erased background is one value to the last digit, and this value.

    Skull strippers and other programs erase the background to 0, to the smallest value, or to that of air.
    Programs that resample or scale an image after its background was erased leave rounding in it, a hundred-thousandth
    of the range or less; those that pad it write a second value around the first.

    Args:
        image: one channel, any number of axes.

    Returns:
        The image, a copy if something changed, and the value: that of the corners, if it fills a part of the image; 0
        where most corners differ.

    Examples:
        >>> image = torch.full((8, 8, 8), -1.0)
        >>> image[2:6, 2:6, 2:6] = torch.rand(4, 4, 4)
        >>> clean, value = with_one_background(image + 1e-7 * torch.rand(8, 8, 8))
        >>> bool((clean[0] == value).all()), round(value, 5)
        (True, -1.0)
    """
    value, noise = _background(image)
    clean = torch.where((image - value).abs() <= noise, value, image) if noise else image
    within = clean[_box(clean != value)]
    if within.shape == image.shape or not within.numel():
        return clean, value
    inner, noise = _background(within - value)
    if inner:
        clean = clean.clone() if clean is image else clean
        within = clean[_box(clean != value)]
        within[(within - value - inner).abs() <= noise] = value
    return clean, value


def _box(mask: Tensor) -> tuple[slice, ...]:
    """The smallest part of an image that holds all of a mask."""
    box = []
    for axis in range(mask.ndim):
        there = mask.movedim(axis, 0).reshape(mask.shape[axis], -1).any(1).nonzero()
        box.append(slice(int(there[0]), int(there[-1]) + 1) if len(there) else slice(0))
    return tuple(box)


def _background(image: Tensor) -> tuple[float, float]:
    """The value, and how far voxels of the background may lie from it."""
    corners = image[torch.meshgrid([torch.tensor([0, -1])] * image.ndim, indexing="ij")].flatten()
    value = float(corners.median())
    low, high = float(image.min()), float(image.max())
    if not high - low > 0:  # NaN is not larger, and a constant image has no background
        return 0.0, 0.0
    near = 1e-5 * (high - low)
    if int(((corners - value).abs() <= near).sum()) * 2 <= len(corners):
        return 0.0, 0.0
    exact = int((corners == value).sum()) * 2 > len(corners)
    noise = 1e-6 * abs(value) if exact else near
    if exact and value == 0:
        return 0.0, 0.0
    share = float(((image - value).abs() <= noise).float().mean())
    if not 0.3 <= share < 1:
        return 0.0, 0.0
    return (value if abs(value) > noise else 0.0), noise


class NormalizeForeground(Transform):
    """Each channel to zero mean and unit standard deviation over its foreground; one value for the rest.

    Use it for images whose background was taken away (brains without skull). MONAI's ``NormalizeIntensity`` with
    ``nonzero=True`` does the same for a background of 0 and has no other. NaN (absent) stays NaN.

    Args:
        background: value of what is not foreground: 0 is the mean of the foreground; -10 lies far below it, as in the
            data of Ouyang et al. (IPMI 2021), whose PSNR depends on it.
        threshold: foreground is what is larger. Default: what is not the image's own background
            (:func:`with_one_background`, mostly 0), whatever its sign; images may be z-scores.
        eps: smallest standard deviation that is divided by.

    Raises:
        ValueError: if ``eps`` is not positive.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456. Differs from the original code, which divides by the number of
        foreground voxels plus one.

    Examples:
        >>> NormalizeForeground(background=-10)(torch.tensor([[0.0, 1.0, 3.0]]))
        tensor([[-10.,  -1.,   1.]])
    """

    def __init__(self, background: float = 0.0, *, threshold: float | None = None, eps: float = 1e-8) -> None:
        if not eps > 0:
            raise ValueError(f"eps must be positive, got {eps}.")
        self.background, self.eps = float(background), float(eps)
        self.threshold = None if threshold is None else float(threshold)

    def __call__(self, img: Tensor) -> Tensor:
        """Return the normalised image, float32; a MetaTensor stays one.

        Args:
            img: ``(C, *spatial)``.

        Raises:
            ValueError: if it has no spatial axes.
        """
        if img.ndim < 2:
            raise ValueError(f"img must have shape (C, *spatial), got {tuple(img.shape)}.")
        values = plain_tensor(img).to(torch.float32)
        own = torch.zeros(len(values), 1)
        if self.threshold is None and len(values):
            clean, found = zip(*map(with_one_background, values), strict=True)
            values, own = torch.stack(clean), torch.tensor(found)[:, None]
        flat = values.flatten(1).double()  # sums over millions of voxels
        if self.threshold is None:
            mask = (flat != own.to(flat)) & ~flat.isnan()
        else:
            mask = flat > self.threshold
        count = mask.sum(1, keepdim=True).clamp(min=1)
        mean = torch.where(mask, flat, 0.0).sum(1, keepdim=True) / count
        centred = flat - mean
        deviation = (torch.where(mask, centred, 0.0).square().sum(1, keepdim=True) / count).sqrt()
        scaled = torch.where(mask, centred / deviation.clamp(min=self.eps), self.background)
        result = torch.where(flat.isnan(), flat, scaled).to(torch.float32).reshape(values.shape)
        return with_metadata(result, img)


class NormalizeForegroundd(EachKeyd):
    """Dictionary form of :class:`NormalizeForeground`.

    Examples:
        >>> NormalizeForegroundd("image")({"image": torch.tensor([[0.0, 1.0, 3.0]])})["image"]
        tensor([[ 0., -1.,  1.]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        background: float = 0.0,
        *,
        threshold: float | None = None,
        eps: float = 1e-8,
        allow_missing_keys: bool = False,
    ) -> None:
        normalize = NormalizeForeground(background, threshold=threshold, eps=eps)
        super().__init__(keys, normalize, allow_missing_keys)


class ForegroundIntensityd(MapTransform):
    """Synthesised z-scores as an image like those that scanners make: 0 outside of the body, positive inside.

    Use it on what a network made of images of :class:`NormalizeForegroundd`, in front of ``Invertd``. The body is where
    any modality of the input has something. :class:`NormalizeForegroundd` takes the result for what the network made,
    so it can stand in for an image that was not acquired.

    Args:
        keys: synthesised images, ``(C, *spatial)``.
        image_key: the normalised input ``(M * S, *spatial)``, NaN where absent.
        num_slices: S; of a slice and its neighbours only the middle one counts.
        background: value of the input where there is nothing.
        mean: value of a z-score of 0.
        std: distance of one standard deviation.
        lowest: smaller values of the body become this one; ``None``: they stay.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        ValueError: if ``std`` is not positive.

    Examples:
        >>> data = {"pred": torch.tensor([[1.0, -1.0, 0.5]]), "image": torch.tensor([[-0.5, 0.5, 0.0]])}
        >>> ForegroundIntensityd("pred", mean=500, std=100)(data)["pred"]
        tensor([[600., 400.,   0.]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        *,
        num_slices: int = 1,
        background: float = 0.0,
        mean: float = 500.0,
        std: float = 100.0,
        lowest: float | None = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not std > 0:
            raise ValueError(f"std must be positive, got {std}.")
        self.image_key, self.num_slices, self.background = image_key, int(num_slices), float(background)
        self.mean, self.std, self.lowest = float(mean), float(std), lowest

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with every key rescaled."""
        result = dict(data)
        image = result[self.image_key]
        image = plain_tensor(image)
        image = image[self.num_slices // 2 :: self.num_slices]
        body = ((image != self.background) & ~image.isnan()).any(0)
        for key in self.key_iterator(result):
            scores = result[key]
            values = plain_tensor(scores) * self.std + self.mean
            if self.lowest is not None:
                values = values.clamp(min=self.lowest)
            values = torch.where(body.to(values.device), values, 0.0)
            result[key] = with_metadata(values, scores)
        return result
