# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Images as a scanner or a sequence would show them that nobody has seen: strong random intensities."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

import torch
from monai.config import KeysCollection
from monai.transforms import (
    Compose,
    MapTransform,
    RandAdjustContrast,
    RandBiasField,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandHistogramShift,
    RandLambda,
    Randomizable,
    RandSimulateLowResolution,
)
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata
from monai_mmseg.transforms.convolution_intensity import RandConvolutionIntensity


def appearance_transforms(spatial_dims: int = 2) -> list[Callable[[Any], Any]]:
    """What :class:`RandAppearanced` does to an image in [0, 1], in this order.

    A curve through 4 to 10 random points, a random convolution network, gamma, the negative, a bias field, a low
    resolution, smoothing, noise; all but the second are MONAI's.

    Args:
        spatial_dims: of the images.

    Examples:
        >>> [type(one).__name__ for one in appearance_transforms()][:2]
        ['RandHistogramShift', 'RandConvolutionIntensity']
    """
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[spatial_dims]
    sigma = (0.3, 1.0)
    return [
        RandHistogramShift(num_control_points=(4, 10), prob=0.9),
        RandConvolutionIntensity(prob=0.3),
        RandAdjustContrast(prob=0.3, gamma=(0.5, 2.0)),
        RandLambda(_negative, prob=0.5),
        RandBiasField(prob=0.3, coeff_range=(-0.15, 0.15)),
        RandSimulateLowResolution(prob=0.2, upsample_mode=linear, zoom_range=(0.5, 1.0)),
        RandGaussianSmooth(prob=0.3, sigma_x=sigma, sigma_y=sigma, sigma_z=sigma),
        RandGaussianNoise(prob=0.5, std=0.05),
    ]


class RandAppearanced(Randomizable, MapTransform):
    """Another appearance for every image, of any modality: shapes stay, intensities are random.

    Use it to train on a labelled modality a network for another that has no labels, or as a strong augmentation of any
    method. Each part of the channels is brought to [0, 1], changed, and brought back to where it was.

    Args:
        keys: images ``(C, *spatial)``; a part of the channels with NaN (an absent modality) stays as it is.
        parts: into how many parts the channels are cut, each of which is changed by itself: the number of modalities.
        keep: what an image has in common with what it was: its ``"range"`` (methods that scale to one), or its mean and
            standard deviation, ``"moments"`` (z-scores).
        spatial_dims: of the images.
        transforms: random array transforms of MONAI in the place of :func:`appearance_transforms`.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        ValueError: if ``keep`` is unknown, or (in a call) the channels cannot be cut.

    Reference:
        Billot et al., "SynthSeg", Medical Image Analysis 2023, arXiv:2107.09559, and Ouyang et al., IEEE TMI 2023,
        arXiv:2111.12525, for the idea that random contrasts make a network know any; the ranges are ours.

    Examples:
        >>> change = RandAppearanced("image", parts=2).set_random_state(0)
        >>> image = torch.rand(2, 16, 16)
        >>> changed = change({"image": image})["image"]
        >>> bool((changed - image).abs().max() > 0.1), bool(torch.allclose(changed.mean((1, 2)), image.mean((1, 2))))
        (True, True)
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        parts: int = 1,
        keep: Literal["moments", "range"] = "moments",
        spatial_dims: int = 2,
        transforms: Sequence[Callable[[Any], Any]] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if keep not in ("moments", "range"):
            raise ValueError(f"keep must be 'moments' or 'range', got {keep!r}.")
        self.parts, self.keep = int(parts), keep
        self.change = Compose(appearance_transforms(spatial_dims) if transforms is None else transforms)

    def set_random_state(self, seed: int | None = None, state: Any = None) -> RandAppearanced:
        """Seed it, and what it is made of."""
        super().set_random_state(seed, state)
        self.change.set_random_state(state=self.R)
        return self

    def randomize(self, data: Any = None) -> None:
        """Nothing: each transform draws for itself."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with other images."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = plain_tensor(result[key])
            if image.shape[0] % self.parts:
                raise ValueError(f"{key} must have a multiple of {self.parts} channels, got {image.shape[0]}.")
            changed = [self._changed(part) for part in image.to(torch.float32).chunk(self.parts)]
            result[key] = with_metadata(torch.cat(changed), result[key])
        return result

    def _changed(self, part: Tensor) -> Tensor:
        low, span = part.min(), part.max() - part.min()
        if not (torch.isfinite(span) and span > 0):
            return part
        changed = plain_tensor(self.change((part - low) / span)).to(torch.float32)
        if self.keep == "range":
            now = (changed.max() - changed.min()).clamp(min=1e-6)
            return (changed - changed.min()) / now * span + low
        return (changed - changed.mean()) / changed.std().clamp(min=1e-6) * part.std() + part.mean()


def _negative(image: Tensor) -> Tensor:
    return 1 - image
