# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Padding that mirrors an image with its border."""

from __future__ import annotations

import itertools
from typing import Any, cast

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
    if not torch.jit.is_scripting() and not torch.jit.is_tracing() and image.requires_grad:
        return cast(Tensor, _SymmetricPad.apply(image, width))
    return _mirrored(image, width)


def _mirrored(image: Tensor, width: int) -> Tensor:
    for axis in range(2, image.dim()):
        size = image.shape[axis]
        before, after = image.narrow(axis, 0, width), image.narrow(axis, size - width, width)
        image = torch.cat([before.flip(axis), image, after.flip(axis)], dim=axis)
    return image


class _SymmetricPad(torch.autograd.Function):
    """The same, with a gradient that is copied once: what autograd makes of slices adds whole images."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, width: int) -> Tensor:
        ctx.width = width
        return _mirrored(image, width)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        width = ctx.width
        axes = range(2, grad.dim())
        inner = grad
        for axis in axes:
            inner = inner.narrow(axis, width, grad.shape[axis] - 2 * width)
        total = inner.clone(memory_format=torch.preserve_format)
        for sides in itertools.product((-1, 0, 1), repeat=len(axes)):
            border, target, flipped = grad, total, [a for a, side in zip(axes, sides, strict=True) if side]
            for axis, side in zip(axes, sides, strict=True):
                size = total.shape[axis]
                if side == 0:
                    border = border.narrow(axis, width, size)
                else:
                    border = border.narrow(axis, 0 if side < 0 else width + size, width)
                    target = target.narrow(axis, 0 if side < 0 else size - width, width)
            if flipped:
                target += border.flip(flipped)
        return total, None


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
