# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From a content map and a style vector to an image."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_mmseg.networks.layers.channel_norm import channel_norm
from monai_mmseg.networks.nets.munit.blocks import ContentBlock, reflected_conv


class MUNITDecoder(nn.Module):
    """Image of a content in a style: a dense network turns the style into scales and shifts of residual blocks.

    Then nearest upsampling and 5x5 convolutions with layer normalisation, which keeps the means that the style has
    set, and a 7x7 convolution; tanh. 6,869,121 weights at the defaults, 1,120,768 of them in ``mlp``.

    Args:
        spatial_dims: 2 or 3.
        out_channels: channels of the image.
        features: channels in front of the last convolution.
        num_downsamples: how often the size is doubled.
        num_blocks: residual blocks.
        style_channels: length of the style.

    Reference:
        Huang et al., "Multimodal unsupervised image-to-image translation", ECCV 2018, arXiv:1804.04732, appendix B.

    Examples:
        >>> decoder = MUNITDecoder(2, 1, features=4)
        >>> decoder(torch.rand(1, 16, 8, 8), torch.zeros(1, 8)).shape
        torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        out_channels: int,
        features: int = 64,
        num_downsamples: int = 2,
        num_blocks: int = 4,
        style_channels: int = 8,
    ) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(num_downsamples, -1, -1)]
        wide = widths[0]
        self.mlp = nn.Sequential(
            nn.Linear(style_channels, wide),
            nn.ReLU(),
            nn.Linear(wide, wide),
            nn.ReLU(),
            nn.Linear(wide, num_blocks * 4 * wide),
        )
        self.blocks = nn.ModuleList(ContentBlock(spatial_dims, wide) for _ in range(num_blocks))
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for inputs, outputs in itertools.pairwise(widths):
            self.convs.append(reflected_conv(spatial_dims, inputs, outputs, kernel_size=5))
            self.norms.append(channel_norm(spatial_dims, outputs, ("layer", {"eps": 1e-5})))
        self.last = reflected_conv(spatial_dims, features, out_channels, kernel_size=7)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Image in (-1, 1), ``2 ** num_downsamples`` times as large as the content.

        Args:
            content: shape ``(B, features * 2 ** num_downsamples, *spatial)``.
            style: shape ``(B, style_channels)``, or one row for the whole batch.
        """
        adaptations = self.mlp(style).unflatten(1, (len(self.blocks), 4, -1)).expand(content.shape[0], -1, -1, -1)
        for block, adaptation in zip(self.blocks, adaptations.unbind(1), strict=True):
            content = block(content, adaptation)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            content = F.relu(norm(conv(F.interpolate(content, scale_factor=2.0, mode="nearest"))))
        return torch.tanh(self.last(content))
