# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Spatial transformer that deforms the anatomy of one modality onto that of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform
from monai_mmseg.networks.layers.spatial_check import require_spatial_size
from monai_mmseg.networks.layers.thin_plate_spline import ThinPlateSpline

_SMALLEST = 32  # 32 -> 28 -> 14 -> 10 -> 5 -> 1 through the localisation network


class SpatialTransformerOutput(NamedTuple):
    """What :class:`SpatialTransformer` returns."""

    deformed: Tensor  # (B, C, *spatial), soft at the edges, not binarised again
    offsets: Tensor  # (B, n, d), of the control points, as a fraction of the extent of the image


class SpatialTransformer(nn.Module):
    """Deformation of one anatomy onto another by a thin-plate spline.

    A small convolutional network sees both anatomies and predicts offsets of a regular grid of control points. It
    starts at the identity, because its last layer starts at zero. With the defaults at 192 x 192 there are
    3,395,210 parameters.

    Args:
        in_channels: channels of one anatomy.
        spatial_size: size of the anatomies, two or three numbers of at least 32.
        num_points: control points along each axis.
        max_offset: where given, offsets are softly limited to this fraction of the extent of the image
            (``b * tanh(offset / b)``), which keeps a large initial gradient from folding the image; ``None`` leaves
            them free.
        features: channels of the three convolutions.
        hidden: units of the dense layer.

    Attributes:
        spline: the :class:`~monai_mmseg.networks.layers.ThinPlateSpline`, to deform further images by the offsets.

    Raises:
        ValueError: when the sizes make no sense.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.
        Differs from the paper: the network predicts offsets, not positions (as the published results were made), and
        ``max_offset`` is an addition that is off by default.

    Examples:
        >>> transformer = SpatialTransformer(in_channels=8, spatial_size=(64, 64))
        >>> moving, fixed = torch.rand(2, 8, 64, 64), torch.rand(2, 8, 64, 64)
        >>> deformed, offsets = transformer(moving, fixed)
        >>> offsets.shape, bool((deformed - moving).abs().max() < 1e-4)
        (torch.Size([2, 25, 2]), True)
    """

    def __init__(
        self,
        in_channels: int,
        spatial_size: Sequence[int],
        num_points: Sequence[int] = (5, 5),
        max_offset: float | None = None,
        *,
        features: Sequence[int] = (20, 20, 20),
        hidden: int = 100,
    ) -> None:
        super().__init__()
        if len(spatial_size) not in (2, 3) or min(spatial_size) < _SMALLEST:
            raise ValueError(
                f"spatial_size must be two or three numbers of at least {_SMALLEST}, which the valid convolutions of "
                f"the localisation network need, got {tuple(spatial_size)}."
            )
        if max_offset is not None and max_offset <= 0:
            raise ValueError(f"max_offset must be positive, or None for no limit, got {max_offset}.")
        if len(features) != 3:
            raise ValueError(f"features must list the channels of three convolutions, got {tuple(features)}.")
        spatial_dims = len(spatial_size)
        convolution, pool = Conv[Conv.CONV, spatial_dims], Pool[Pool.MAX, spatial_dims]
        self.spatial_size = [int(n) for n in spatial_size]
        self.max_offset = None if max_offset is None else float(max_offset)
        self.spline = ThinPlateSpline(spatial_size, num_points)
        self.localisation = nn.Sequential(
            convolution(2 * in_channels, features[0], kernel_size=5),
            nn.LeakyReLU(0.3, inplace=True),
            pool(2),
            convolution(features[0], features[1], kernel_size=5),
            nn.LeakyReLU(0.3, inplace=True),
            pool(2),
            convolution(features[1], features[2], kernel_size=5),
            nn.LeakyReLU(0.3, inplace=True),
        )
        left = math.prod(((n - 4) // 2 - 4) // 2 - 4 for n in self.spatial_size)
        self.hidden = nn.Linear(features[2] * left, hidden)
        self.out = nn.Linear(hidden, self.spline.control_points.numel())
        self.apply(glorot_uniform)
        nn.init.zeros_(self.out.weight)

    def offsets(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Offsets of the control points, ``(B, n, d)``, as a fraction of the extent of the image along each axis.

        Arguments and errors are those of :meth:`forward`.
        """
        require_spatial_size(moving, self.spatial_size, "moving")
        require_spatial_size(fixed, self.spatial_size, "fixed")
        features = self.localisation(torch.cat([moving, fixed], dim=1))
        offsets = self.out(torch.tanh(self.hidden(features.flatten(1))))
        bound = self.max_offset
        if bound is not None:
            offsets = bound * torch.tanh(offsets / bound)
        return offsets.reshape(-1, self.spline.control_points.shape[0], self.spline.control_points.shape[1])

    def forward(self, moving: Tensor, fixed: Tensor) -> SpatialTransformerOutput:
        """The deformed anatomy and the offsets.

        Args:
            moving: anatomy to deform, shape ``(B, in_channels, *spatial_size)``.
            fixed: anatomy to match, same shape.

        Raises:
            ValueError: when a spatial size is not the one the network was built for.
        """
        offsets = self.offsets(moving, fixed)
        return SpatialTransformerOutput(deformed=self.spline(moving, offsets), offsets=offsets)
