# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Decoder that renders an anatomy in a given style by spatially adaptive normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform
from monai_mmseg.networks.layers.spade import SpadeNormKind, SpadeResBlock
from monai_mmseg.networks.layers.spatial_check import require_spatial_size

_SCALE = 32  # five times twice the size


class SPADEDecoder(nn.Module):
    """Image rendered from a style vector under the guidance of an anatomy.

    The large decoder: the style vector becomes a coarse map that grows to full size, and the anatomy is fed in at every
    size. With the defaults and 8 channels of anatomy and style at 192 x 192 there are 4,285,649 parameters.

    Args:
        anatomy_channels: channels of the anatomy.
        style_channels: length of the style vector.
        spatial_size: size of the image, two or three multiples of 32; fixed by a dense layer.
        out_channels: channels of the image.
        features: channels of the coarsest map, a multiple of 8.
        norm: ``"instance"`` or ``"joint"``, see :class:`~monai_mmseg.networks.layers.SpadeNorm`.
        hidden: channels between anatomy and modulation.

    Raises:
        ValueError: when ``spatial_size`` or ``features`` cannot be halved often enough.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.
        Differs from the paper: the scale is ``1 + gamma``, as in the literature. ``norm="joint"`` gives the
        normalisation of the published results in place of the one of the text.

    Examples:
        >>> decoder = SPADEDecoder(8, 8, spatial_size=(64, 32), features=16, hidden=8)
        >>> decoder(torch.rand(2, 8, 64, 32), torch.randn(2, 8)).shape
        torch.Size([2, 1, 64, 32])
    """

    def __init__(
        self,
        anatomy_channels: int,
        style_channels: int,
        spatial_size: Sequence[int],
        out_channels: int = 1,
        features: int = 128,
        norm: SpadeNormKind = "instance",
        *,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        if len(spatial_size) not in (2, 3) or any(n < _SCALE or n % _SCALE for n in spatial_size):
            raise ValueError(f"spatial_size must be two or three multiples of {_SCALE}, got {tuple(spatial_size)}.")
        if features < 8 or features % 8:
            raise ValueError(f"features must be a multiple of 8, got {features}.")
        spatial_dims = len(spatial_size)
        self.spatial_size = [int(n) for n in spatial_size]
        self.coarse_shape = [features, *(n // _SCALE for n in self.spatial_size)]
        widths = [features] * 4 + [features // 2, features // 4, features // 8]
        self.stem = nn.Linear(style_channels, math.prod(self.coarse_shape))
        self.blocks = nn.ModuleList(
            [
                SpadeResBlock(spatial_dims, width_in, width_out, anatomy_channels, hidden=hidden, norm=norm)
                for width_in, width_out in pairwise(widths)
            ]
        )
        self.out = Conv[Conv.CONV, spatial_dims](widths[-1], out_channels, kernel_size=1)
        self.stem.apply(glorot_uniform)
        self.out.apply(glorot_uniform)

    def forward(self, anatomy: Tensor, style: Tensor) -> Tensor:
        """Image with values in ``[-1, 1]``, shape ``(B, out_channels, *spatial_size)``.

        Args:
            anatomy: shape ``(B, anatomy_channels, *spatial_size)``.
            style: shape ``(B, style_channels)``. Further rows render the first anatomies again; what does not depend
                on the style is computed once.

        Raises:
            ValueError: when the spatial size is not the one the network was built for.
        """
        require_spatial_size(anatomy, self.spatial_size, "anatomy")
        features = self.stem(style).unflatten(1, self.coarse_shape)
        for index, block in enumerate(self.blocks):
            if index > 0:
                features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(features, anatomy)
        return torch.tanh(self.out(features))
