# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Check of the image size that a network with a dense layer was built for."""

from __future__ import annotations

from torch import Tensor

__all__ = ["require_spatial_size"]


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
