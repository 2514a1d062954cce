# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Instance normalisation that maps scale and shift, row by row where that keeps a row in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from monai_mmseg.networks.layers.spade import instance_normalise
from monai_mmseg.networks.nets.disentangle.encoders import INTERPOLATION

EPS = 1e-5
_REDUCE: dict[int, Any] = {
    1: torch.ops.aten.upsample_linear1d_backward,
    2: torch.ops.aten.upsample_bilinear2d_backward,
    3: torch.ops.aten.upsample_trilinear3d_backward,
}


def modulate(features: Tensor, gamma: Tensor, beta: Tensor, rows: Tensor | None = None) -> Tensor:
    """Features, enlarged to the maps, normalised for each row and channel, times ``1 + gamma`` plus ``beta``.

    On a CPU what lies between is made row by row, and made again for the gradient: it stays in the cache, and none of
    it is kept.

    Args:
        features: shape ``(N, C, *size)``; linearly interpolated where the maps are of another size.
        gamma: shape ``(A, C, *spatial)``.
        beta: shape of ``gamma``.
        rows: which row of the maps each row of the features has, int64 ``(N,)``. ``None``: its own.

    Returns:
        Shape ``(N, C, *spatial)``, of the type of the features; statistics have at least single precision.

    Examples:
        >>> features, maps = torch.rand(3, 4, 8, 8), torch.rand(2, 2, 4, 16, 16)
        >>> modulate(features, *maps, rows=torch.tensor([0, 1, 1])).shape
        torch.Size([3, 4, 16, 16])
    """
    plain = torch.compiler.is_compiling() or torch.jit.is_tracing() or features.device.type != "cpu"
    if not plain:
        index = list(range(features.shape[0])) if rows is None else rows.tolist()
        found: Tensor = _Modulate.apply(features, gamma, beta, index)
        return found
    if rows is not None:
        gamma, beta = gamma[rows], beta[rows]
    return instance_normalise(enlarge(features, gamma.shape[2:]), EPS) * (1 + gamma) + beta


def enlarge(features: Tensor, size: Sequence[int]) -> Tensor:
    """Features ``(N, C, *any)``, linearly interpolated to another size."""
    if tuple(features.shape[2:]) == tuple(size):
        return features
    return F.interpolate(features, size=list(size), mode=INTERPOLATION[len(size)], align_corners=False)


class _Modulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, gamma: Tensor, beta: Tensor, rows: list[int]) -> Tensor:
        ctx.save_for_backward(features, gamma)
        ctx.rows, ctx.shift_type = rows, beta.dtype
        shape = (features.shape[0], *gamma.shape[1:])
        found = torch.empty(shape, dtype=features.dtype, memory_format=memory_format_of(gamma))
        statistics: dict[int, list[Tensor]] = {}
        for anatomy, group in _groups(rows):
            scale, shift = 1 + _single(gamma[anatomy : anatomy + 1]), _single(beta[anatomy : anatomy + 1])
            for row in group:
                large = enlarge(_single(features[row : row + 1]), gamma.shape[2:])
                normal, *statistics[row] = torch.native_batch_norm(large, None, None, None, None, True, 0.0, EPS)
                _addcmul(shift, normal, scale, found[row : row + 1])
        ctx.statistics = statistics
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features, gamma = ctx.saved_tensors
        size, rows, shape = list(gamma.shape[2:]), ctx.rows, (1, -1, *[1] * (gamma.ndim - 2))
        for_features, for_gamma = torch.empty_like(features), torch.empty_like(gamma)
        for_beta = torch.empty_like(gamma, dtype=ctx.shift_type)
        for anatomy in set(range(gamma.shape[0])) - set(rows):
            for_gamma[anatomy].zero_()
            for_beta[anatomy].zero_()
        for anatomy, group in _groups(rows):
            scale = 1 + _single(gamma[anatomy : anatomy + 1])
            scales, shifts = torch.zeros_like(scale), torch.zeros_like(scale)
            for row in group:
                large = enlarge(_single(features[row : row + 1]), size)
                mean, inverse = ctx.statistics[row]
                normal = large.sub(mean.view(shape)).mul_(inverse.view(shape))
                own = _single(grad[row : row + 1])
                scales.addcmul_(own, normal)
                shifts.add_(own)
                inner = torch.ops.aten.native_batch_norm_backward(
                    own * scale, large, None, None, None, mean, inverse, True, EPS, [True, False, False]
                )[0]
                if large.shape != features[row : row + 1].shape:
                    inner = _REDUCE[len(size)](inner, size, [1, *features.shape[1:]], False)
                for_features[row : row + 1].copy_(inner)
            for_gamma[anatomy : anatomy + 1].copy_(scales)
            for_beta[anatomy : anatomy + 1].copy_(shifts)
        return for_features, for_gamma, for_beta, None


def _groups(rows: list[int]) -> list[tuple[int, list[int]]]:
    """Rows of the maps, and the rows of the features that have each."""
    order = sorted(range(len(rows)), key=rows.__getitem__)
    return [(anatomy, list(group)) for anatomy, group in groupby(order, key=rows.__getitem__)]


def _addcmul(shift: Tensor, normal: Tensor, scale: Tensor, found: Tensor) -> None:
    """Into a row of the result; PyTorch converts with ``out`` at a tenth of the speed of a copy."""
    if found.dtype == normal.dtype:
        torch.addcmul(shift, normal, scale, out=found)
    else:
        found.copy_(torch.addcmul(shift, normal, scale))


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Channels last where a tensor of 4 or 5 dimensions is that alone, else contiguous."""
    for number, memory_format in {4: torch.channels_last, 5: torch.channels_last_3d}.items():
        if x.ndim == number and x.is_contiguous(memory_format=memory_format) and not x.is_contiguous():
            return memory_format
    return torch.contiguous_format


def _single(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
