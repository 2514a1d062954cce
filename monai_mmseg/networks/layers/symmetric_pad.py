# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Padding that mirrors an image with its border."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def symmetric_pad(image: Tensor, width: int) -> Tensor:
    """Image, mirrored at its borders, the border sample included.

    Use it where a network was defined with NumPy's mode ``symmetric``: ``a b c`` becomes ``b a a b c c b``. PyTorch has
    no such mode: its ``reflect`` leaves the border out (``c b a b c b a``).

    Args:
        image: shape ``(B, C, *spatial)``.
        width: samples added on both sides of every spatial axis, at most the size of the image.

    Examples:
        >>> symmetric_pad(torch.tensor([[[1.0, 2.0, 3.0]]]), 2)
        tensor([[[2., 1., 1., 2., 3., 3., 2.]]])
    """
    if width == 0:
        return image
    for axis in range(2, image.dim()):
        size = image.shape[axis]
        before, after = image.narrow(axis, 0, width), image.narrow(axis, size - width, width)
        image = torch.cat([before.flip(axis), image, after.flip(axis)], dim=axis)
    return image


class SymmetricPad(nn.Module):
    """Module form of :func:`symmetric_pad`, for use in front of a convolution without padding.

    Raises:
        ValueError: if ``width`` is negative.

    Examples:
        >>> SymmetricPad(1)(torch.zeros(1, 2, 4, 4)).shape
        torch.Size([1, 2, 6, 6])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 0:
            raise ValueError(f"width must be 0 or more, got {width}.")
        self.width = width

    def forward(self, image: Tensor) -> Tensor:
        """Return the padded image."""
        return symmetric_pad(image, self.width)

    def extra_repr(self) -> str:
        """Say the width."""
        return f"{self.width}"
