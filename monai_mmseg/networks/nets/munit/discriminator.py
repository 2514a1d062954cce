# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whether patches of an image are real, at several sizes of the image."""

from __future__ import annotations

import itertools

from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from monai_mmseg.networks.nets.munit.blocks import reflected_conv

_STD = 0.02  # of the initial weights


class MultiScaleDiscriminator(nn.Module):
    """Maps of scores of an image, of the image at half its size, and so on.

    At each scale strided 4x4 convolutions that double the channels, leaky ReLU (0.2), no normalisation, and a 1x1
    convolution; 8,265,027 weights at the defaults. (MONAI's ``MultiScalePatchDiscriminator`` has other layers.)

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        features: channels of the first convolution.
        num_layers: strided convolutions.
        num_scales: sizes that are looked at, each half of the one before.

    Reference:
        Huang et al., "Multimodal unsupervised image-to-image translation", ECCV 2018, arXiv:1804.04732, appendix B.

    Examples:
        >>> import torch
        >>> scores = MultiScaleDiscriminator(2, 1, features=4)(torch.rand(1, 1, 64, 64))
        >>> [tuple(one.shape) for one in scores]
        [(1, 1, 4, 4), (1, 1, 2, 2), (1, 1, 1, 1)]
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, features: int = 64, num_layers: int = 4, num_scales: int = 3
    ) -> None:
        super().__init__()
        # mirrored borders need two rows in front of the last layer of the last scale
        self.smallest = 2 ** (num_scales - 1) * (2**num_layers - 1) + 1
        widths = [in_channels, *(features * 2**level for level in range(num_layers))]
        self.scales = nn.ModuleList()
        for _ in range(num_scales):
            layers = nn.Sequential()
            for inputs, outputs in itertools.pairwise(widths):
                layers.append(reflected_conv(spatial_dims, inputs, outputs, kernel_size=4, stride=2))
                layers.append(nn.LeakyReLU(0.2, inplace=True))
            layers.append(Conv[Conv.CONV, spatial_dims](widths[-1], 1, kernel_size=1))
            self.scales.append(layers)
        self.halve = Pool[Pool.AVG, spatial_dims](3, stride=2, padding=1, count_include_pad=False)
        self.apply(_narrow)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Scores ``(B, 1, *patches)`` of each scale, the full size first.

        Args:
            image: shape ``(B, in_channels, *spatial)``.

        Raises:
            ValueError: if it is too small for the scales and layers.
        """
        if min(image.shape[2:]) < self.smallest:
            raise ValueError(
                f"images must be {self.smallest} or more along each axis for {len(self.scales)} scales, got "
                f"{tuple(image.shape[2:])}; set num_scales or num_layers lower."
            )
        scores = []
        for number, layers in enumerate(self.scales):
            image = image if number == 0 else self.halve(image)
            scores.append(layers(image))
        return scores


def _narrow(layer: nn.Module) -> None:
    if isinstance(layer, _ConvNd):
        nn.init.normal_(layer.weight, std=_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
