# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Neighbouring slices as channels, for two-dimensional networks that see a little of the third dimension."""

from __future__ import annotations

import torch
from monai.config import KeysCollection
from monai.transforms import Transform
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata
from monai_mmseg.transforms.map_transforms import EachKeyd


def pad_slices(volume: Tensor, num_slices: int, dim: int = -1) -> Tensor:
    """Volume with ``num_slices - 1`` slices more, so that every slice has its neighbours: first and last are repeated.

    Args:
        volume: any shape.
        num_slices: neighbouring slices that are wanted for each slice, itself included; an odd number. Those of slice
            ``j`` are ``j`` to ``j + num_slices - 1`` of the result.
        dim: axis of the slices.

    Raises:
        ValueError: if `num_slices` is even or less than one.

    Examples:
        >>> pad_slices(torch.tensor([1, 2, 3]), 3).tolist()
        [1, 1, 2, 3, 3]
    """
    if num_slices < 1 or num_slices % 2 == 0:
        raise ValueError(f"num_slices must be an odd number from 1, got {num_slices}.")
    half, depth = num_slices // 2, volume.shape[dim]
    places = torch.arange(-half, depth + half, device=volume.device).clamp(0, depth - 1)
    return volume.index_select(dim, places)


class AdjacentSlices(Transform):
    """Every slice of a volume together with its neighbours, as channels: slices ``j - 1, j, j + 1`` for three.

    When to use: as the last step of the preprocessing of whole volumes, so that an inferer can run a two-dimensional
    network over them; in training, :class:`~monai_mmseg.data.UnpairedSliceDataset` does the same without copies.
    Beyond the first and the last slice that slice is repeated, so both are predicted like all others.

    The grid does not change and nothing has to be undone: a prediction made from the result lies on the grid of the
    input, and ``Invertd`` passes this transform by.

    Reference: Dou et al., IEEE TMI 2020, doi:10.1109/TMI.2019.2963882. Differs from the paper: the original leaves the
    first and last slice of a volume unpredicted.

    Args:
        num_slices: channels of the result for each channel, an odd number.
        spatial_dim: spatial axis of the slices, -1 for the last.

    Raises:
        ValueError: if `num_slices` is even or less than one.

    Examples:
        >>> volume = torch.arange(3.0).reshape(1, 1, 1, 3)
        >>> AdjacentSlices(3)(volume)[:, 0, 0].T.tolist()
        [[0.0, 0.0, 1.0], [0.0, 1.0, 2.0], [1.0, 2.0, 2.0]]
    """

    def __init__(self, num_slices: int = 3, spatial_dim: int = -1) -> None:
        if num_slices < 1 or num_slices % 2 == 0:
            raise ValueError(f"num_slices must be an odd number from 1, got {num_slices}.")
        if not -3 <= spatial_dim <= 2:
            raise ValueError(f"spatial_dim must be 0, 1, 2 or -1, -2, -3, got {spatial_dim}.")
        self.num_slices, self.spatial_dim = int(num_slices), int(spatial_dim)

    def __call__(self, img: Tensor) -> Tensor:
        """Return ``(C * num_slices, X, Y, Z)``, all slices of the first channel first, with the affine it had.

        Args:
            img: ``(C, X, Y, Z)``; each channel (a modality) has neighbours of its own.

        Raises:
            ValueError: if it has another shape.
        """
        if img.ndim != 4:
            raise ValueError(f"img must be a volume (C, X, Y, Z), got shape {tuple(img.shape)}.")
        array = plain_tensor(img)
        dim = self.spatial_dim % 3 + 1
        padded = pad_slices(array, self.num_slices, dim)
        stacked = torch.stack([padded.narrow(dim, k, array.shape[dim]) for k in range(self.num_slices)], 1)
        stacked = stacked.flatten(0, 1)
        return with_metadata(stacked, img)


class AdjacentSlicesd(EachKeyd):
    """Dictionary form of :class:`AdjacentSlices`.

    Not for the label: its slice ``j`` stays the label of slice ``j``.

    Examples:
        >>> tuple(AdjacentSlicesd("image", num_slices=5)({"image": torch.rand(1, 8, 8, 4)})["image"].shape)
        (5, 8, 8, 4)
    """

    def __init__(
        self, keys: KeysCollection, num_slices: int = 3, spatial_dim: int = -1, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, AdjacentSlices(num_slices, spatial_dim), allow_missing_keys)
