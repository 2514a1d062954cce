# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Nearest upsampling and convolution in one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Row k: which of the three weights along an axis meet the same low-resolution pixel at tap k of the transposed kernel.
_TAPS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


def convolve_upsampled(image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution of kernel 3 and padding 1 of what nearest upsampling by two makes of an image, without making it.

    Use it where a U-Net upsamples and convolves. Four pixels of the upsampled image are one, so weights that meet the
    same one are added first: a transposed convolution with a kernel of 4 and stride 2, which needs 4/9 of the products
    in two dimensions and 8/27 in three. It pays where there are more pixels than the kernel has weights a channel
    pair, some hundreds in a batch.

    Args:
        image: shape ``(N, in_channels, *spatial)``, two or three spatial dimensions.
        weight: of the convolution, shape ``(out_channels, in_channels, 3, 3)`` or ``(..., 3, 3, 3)``.
        bias: shape ``(out_channels,)``.

    Returns:
        Shape ``(N, out_channels, *spatial * 2)``; equal to the two steps but for rounding.

    Raises:
        ValueError: when the kernel is not 3 along two or three axes.

    Examples:
        >>> image, weight = torch.rand(1, 2, 4, 4), torch.rand(3, 2, 3, 3)
        >>> two_steps = F.conv2d(F.interpolate(image, scale_factor=2.0), weight, padding=1)
        >>> bool(torch.allclose(convolve_upsampled(image, weight), two_steps, atol=1e-5))
        True
    """
    dims = weight.ndim - 2
    if dims not in (2, 3) or list(weight.shape[2:]) != [3] * dims:
        raise ValueError(f"weight must have a kernel of 3 along two or three axes, got shape {tuple(weight.shape)}.")
    along_one = torch.tensor(_TAPS, device=weight.device, dtype=weight.dtype)
    taps = along_one
    for _ in range(dims - 1):
        taps = torch.kron(taps, along_one)
    rows = weight.transpose(0, 1).flatten(2).flatten(0, 1) @ taps.mT
    kernel = rows.reshape([weight.shape[1], weight.shape[0], *[4] * dims])
    convolve = F.conv_transpose2d if dims == 2 else F.conv_transpose3d
    return convolve(image, kernel, bias, stride=2, padding=1)
