# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Two convolutions without an activation between them as one, except along the edges of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from monai_mmseg.networks.layers.conditional_conv import CONVOLUTION


def fold_convolutions(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
    """What two plain convolutions in a row give, by one with a larger kernel; right but for the outermost pixels.

    The operations fall from ``first + second`` to those of a kernel between the channels at both ends, which are few
    where the channels between are many. The kernel has at least single precision.

    Args:
        first: convolution with kernels of 3, stride 1 and padding 1.
        second: the same, behind it.
        x: shape ``(N, in_channels, *spatial)``.

    Returns:
        Shape ``(N, out_channels, *spatial)``. In the outermost pixels the second convolution would have seen zeros
        beside the image, here it sees what the first one makes there.

    Examples:
        >>> convs = [nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)]
        >>> x = torch.rand(1, 2, 8, 8)
        >>> inner = (fold_convolutions(*convs, x) - nn.Sequential(*convs)(x))[..., 1:-1, 1:-1]
        >>> bool(inner.abs().max() < 1e-5)
        True
    """
    assert isinstance(first.weight, Tensor)
    assert isinstance(second.weight, Tensor)
    dims = x.ndim - 2
    axes = list(range(2, x.ndim))
    kind = "cpu" if x.device.type == "meta" else x.device.type
    with torch.autocast(kind, enabled=False):
        kernel = CONVOLUTION[dims](second.weight, first.weight.transpose(0, 1).flip(axes), padding=2)
        bias = (second.weight.sum(axes) * first.bias).sum(1) + second.bias  # type: ignore[operator]
    return CONVOLUTION[dims](x, kernel, bias, padding=2)


def set_edges(x: Tensor, edges: Sequence[tuple[int, int]], strips: Sequence[Tensor]) -> Tensor:
    """The outermost pixels of an image, replaced in place.

    Args:
        x: the image; written to.
        edges: axis and index (0 or -1) of each strip.
        strips: each of the shape of ``x`` with size 1 along its axis; later ones win where they cross.

    Returns:
        ``x``.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return _write(x, edges, strips)
    found: Tensor = _SetEdges.apply(x, edges, *strips)
    return found


def _write(x: Tensor, edges: Sequence[tuple[int, int]], strips: Sequence[Tensor]) -> Tensor:
    for (axis, index), strip in zip(edges, strips, strict=True):
        x.select(axis, index).copy_(strip.select(axis, 0))
    return x


class _SetEdges(torch.autograd.Function):
    """One copy of the gradient, where assignments in place make one for each strip."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, edges: Sequence[tuple[int, int]], *strips: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.mark_dirty(x)
        return _write(x, edges, strips)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        inner = grad.clone()
        strips = []
        for axis, index in reversed(ctx.edges):  # where strips cross, the last one was seen
            strip = inner.select(axis, index)
            strips.append(strip.clone().unsqueeze(axis))
            strip.zero_()
        return inner, None, *reversed(strips)
