# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Checks of the size of an image: against what a network was built for, and whether it can be halved."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def check_divisible(spatial_size: Sequence[int], levels: int, name: str) -> None:
    """Raise if a size cannot be halved and doubled back ``levels`` times.

    Args:
        spatial_size: size in pixels, one number a dimension.
        levels: how often the U-Net halves it.
        name: what the error calls the offender.

    Raises:
        ValueError: when a dimension is not divisible by ``2**levels``.

    Examples:
        >>> check_divisible((192, 192), 4, "spatial_size")
    """
    if any(size % 2**levels for size in spatial_size):
        raise ValueError(f"{name} must be divisible by {2**levels} along every axis, got {tuple(spatial_size)}.")


def require_spatial_size(x: Tensor, spatial_size: list[int], name: str) -> None:
    """Refuse a tensor whose spatial size is not the one a network was built for.

    Without it a wrong size shows up as a failing matrix product deep inside the network. Scriptable.

    Args:
        x: tensor of shape ``(B, C, *spatial)``.
        spatial_size: the size that is wanted.
        name: what the tensor is called in the message.

    Raises:
        ValueError: when the sizes differ.

    Examples:
        >>> import torch
        >>> require_spatial_size(torch.zeros(1, 8, 32, 48), [32, 32], "anatomy")
        Traceback (most recent call last):
        ValueError: anatomy must have the spatial size [32, 32] that the network was built for, got [32, 48].
    """
    size = list(x.shape[2:])
    if size != spatial_size:
        raise ValueError(
            f"{name} must have the spatial size {spatial_size} that the network was built for, got {size}."
        )
