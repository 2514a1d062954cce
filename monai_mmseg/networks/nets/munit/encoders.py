# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What an image shows, as a map, and how it shows it, as a vector."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_mmseg.networks.nets.munit.blocks import ContentBlock, reflected_conv


class MUNITContentEncoder(nn.Module):
    """Content map of an image: instance normalisation takes away how bright it is and how much contrast it has.

    A 7x7 convolution, strided 4x4 ones that double the channels, residual blocks; mirrored borders, ReLU.
    5,379,584 weights at the defaults.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        features: channels of the first convolution.
        num_downsamples: how often the size is halved.
        num_blocks: residual blocks.

    Reference:
        Huang et al., "Multimodal unsupervised image-to-image translation", ECCV 2018, arXiv:1804.04732, appendix B.

    Examples:
        >>> import torch
        >>> encoder = MUNITContentEncoder(2, 1, features=4)
        >>> encoder(torch.zeros(1, 1, 30, 32)).shape  # padded to 32 x 32
        torch.Size([1, 16, 8, 8])
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, features: int = 64, num_downsamples: int = 2, num_blocks: int = 4
    ) -> None:
        super().__init__()
        self.out_channels = features * 2**num_downsamples
        self.step = 2**num_downsamples
        widths = [features * 2**level for level in range(num_downsamples + 1)]
        self.convs = nn.ModuleList([reflected_conv(spatial_dims, in_channels, features, kernel_size=7)])
        for inputs, outputs in itertools.pairwise(widths):
            self.convs.append(reflected_conv(spatial_dims, inputs, outputs, kernel_size=4, stride=2))
        self.blocks = nn.ModuleList(ContentBlock(spatial_dims, widths[-1]) for _ in range(num_blocks))

    def forward(self, image: Tensor) -> Tensor:
        """Content ``(B, out_channels, *spatial / step)``; a size that is no multiple of ``step`` is padded at its end.

        Args:
            image: shape ``(B, in_channels, *spatial)``.
        """
        short = [-size % self.step for size in image.shape[2:]]
        if any(short):
            image = F.pad(image, [number for one in reversed(short) for number in (0, one)], mode="replicate")
        for conv in self.convs:
            image = F.relu(F.instance_norm(conv(image)))
        for block in self.blocks:
            image = block(image)
        return image


class MUNITStyleEncoder(nn.Module):
    """Style vector of an image; without normalisation, which would take it away.

    A 7x7 convolution, strided 4x4 ones that double the channels twice, the mean over space, one dense layer.
    2,758,664 weights at the defaults.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        features: channels of the first convolution.
        num_downsamples: how often the size is halved.
        style_channels: length of the vector.

    Reference:
        Huang et al., ECCV 2018, arXiv:1804.04732, appendix B.

    Examples:
        >>> import torch
        >>> MUNITStyleEncoder(2, 1, features=4)(torch.zeros(3, 1, 32, 32)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, features: int = 64, num_downsamples: int = 4, style_channels: int = 8
    ) -> None:
        super().__init__()
        widths = [features * min(2**level, 4) for level in range(num_downsamples + 1)]
        self.convs = nn.ModuleList([reflected_conv(spatial_dims, in_channels, features, kernel_size=7)])
        for inputs, outputs in itertools.pairwise(widths):
            self.convs.append(reflected_conv(spatial_dims, inputs, outputs, kernel_size=4, stride=2))
        self.dense = Conv[Conv.CONV, spatial_dims](widths[-1], style_channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Style ``(B, style_channels)``.

        Args:
            image: shape ``(B, in_channels, *spatial)``, at least ``2 ** num_downsamples`` along each axis.
        """
        for conv in self.convs:
            image = F.relu(conv(image))
        pooled = image.mean(list(range(2, image.ndim)), keepdim=True)
        style: Tensor = self.dense(pooled)
        return style.flatten(1)
