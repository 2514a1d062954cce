# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Gate on a skip connection: a coarser level says where to look."""

from __future__ import annotations

from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional as F


class SpatialAttentionGate(nn.Module):
    r"""Weighs each pixel of a feature map by what a coarser map finds there.

    Use it on the skip connections of a U-Net. With x at twice the resolution of the gating signal g:
    :math:`\alpha = \sigma(\mathrm{conv}_1(\mathrm{relu}(\mathrm{conv}_{2, s2}(x) + \mathrm{conv}_1(g))))`, enlarged to
    the size of x, and the result is a 1 x 1 convolution and batch normalisation of :math:`\alpha x`. Unlike MONAI's
    ``AttentionBlock`` it needs no gating signal of the size of x, and the weights are made at the coarser resolution.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: channels of x and of the result.
        gate_channels: channels of g.

    Reference:
        Oktay et al., "Attention U-Net", MIDL 2018, arXiv:1804.03999, in the form of the released code of Ouyang et al.,
        IPMI 2021, arXiv:2102.11456.

    Examples:
        >>> import torch
        >>> gate = SpatialAttentionGate(2, 4, 8)
        >>> gate(torch.rand(1, 4, 16, 16), torch.rand(1, 8, 8, 8)).shape
        torch.Size([1, 4, 16, 16])
    """

    def __init__(self, spatial_dims: int, in_channels: int, gate_channels: int) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[spatial_dims]
        self.skip = conv(in_channels, in_channels, kernel_size=2, stride=2, bias=False)
        self.gate = conv(gate_channels, in_channels, kernel_size=1)
        self.score = conv(in_channels, 1, kernel_size=1)
        self.out = nn.Sequential(
            conv(in_channels, in_channels, kernel_size=1), Norm[Norm.BATCH, spatial_dims](in_channels)
        )

    def attention(self, x: Tensor, gate: Tensor) -> Tensor:
        """Weights of the pixels, in (0, 1), shape ``(B, 1, *spatial)``; arguments as in :meth:`forward`."""
        own, other = self.skip(x), self.gate(gate)
        if own.shape[2:] != other.shape[2:]:
            other = F.interpolate(other, size=own.shape[2:], mode=self.mode, align_corners=False)
        weights = (own + other).relu()
        weights = self.score(weights).sigmoid()
        return F.interpolate(weights, size=x.shape[2:], mode=self.mode, align_corners=False)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """``x``, weighed.

        Args:
            x: shape ``(B, in_channels, *spatial)``.
            gate: shape ``(B, gate_channels, *coarser)``.
        """
        weighed: Tensor = self.out(self.attention(x, gate) * x)
        return weighed
