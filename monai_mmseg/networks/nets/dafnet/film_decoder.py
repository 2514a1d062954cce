# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Decoder that renders an anatomy in a given style by feature-wise modulation."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform
from monai_mmseg.networks.layers.film import FiLMBlock


class FiLMDecoder(nn.Module):
    """Image rendered from an anatomy and a style vector.

    The small default decoder: the style can only scale and shift channels, so that what is where must come from the
    anatomy. With the defaults and 8 channels of anatomy and style there are 5,841 parameters. Takes any image size.

    Args:
        anatomy_channels: channels of the anatomy.
        style_channels: length of the style vector.
        out_channels: channels of the image.
        features: channels inside.
        spatial_dims: 2 or 3.
        num_blocks: number of modulated residual blocks.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.

    Examples:
        >>> decoder = FiLMDecoder(anatomy_channels=8, style_channels=8)
        >>> decoder(torch.rand(2, 8, 32, 32), torch.randn(2, 8)).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        anatomy_channels: int,
        style_channels: int,
        out_channels: int = 1,
        features: int = 8,
        *,
        spatial_dims: int = 2,
        num_blocks: int = 4,
    ) -> None:
        super().__init__()
        convolution = Conv[Conv.CONV, spatial_dims]
        self.stem = nn.Sequential(
            convolution(anatomy_channels, features, kernel_size=3, padding=1),
            nn.LeakyReLU(0.3, inplace=True),
        )
        self.blocks = nn.ModuleList([FiLMBlock(spatial_dims, features, style_channels) for _ in range(num_blocks)])
        self.out = convolution(features, out_channels, kernel_size=1)
        self.apply(glorot_uniform)
        nn.init.xavier_normal_(self.out.weight)

    def forward(self, anatomy: Tensor, style: Tensor) -> Tensor:
        """Image with values in ``[-1, 1]``, shape ``(B, out_channels, *spatial)``.

        Args:
            anatomy: shape ``(B, anatomy_channels, *spatial)``.
            style: shape ``(B, style_channels)``. Further rows render the first anatomies again; what does not depend
                on the style is computed once.
        """
        features = self.stem(anatomy)
        for block in self.blocks:
            features = block(features, style)
        return torch.tanh(self.out(features))
