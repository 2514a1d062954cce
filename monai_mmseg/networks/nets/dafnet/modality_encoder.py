# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Variational encoder of what an image shows beyond its anatomy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform, he_normal
from monai_mmseg.networks.nets.dafnet.anatomy_unet import NORM_EPS, NORM_MOMENTUM


class StyleOutput(NamedTuple):
    """Normal distribution of the modality factor of every row."""

    mu: Tensor  # (N, Z) mean
    logvar: Tensor  # (N, Z) logarithm of the variance


class _RowNorm(nn.BatchNorm1d):
    """Batch normalisation that a batch of one row does not stop: it is normalised as in evaluation."""

    def forward(self, rows: Tensor) -> Tensor:
        """Rows ``(N, features)``."""
        fresh = self.training and rows.shape[0] > 1
        kept = (self.running_mean, self.running_var)
        return F.batch_norm(rows, kept[0], kept[1], self.weight, self.bias, fresh, self.momentum or 0.0, self.eps)


class ModalityEncoder(nn.Module):
    """Normal distribution of the modality factor z, from an anatomy map and its image.

    Use it as the shared second encoder of DAFNet; training samples ``z = mu + exp(logvar / 2) * noise``, evaluation
    takes ``mu``. Strided 3x3 convolutions without padding, LeakyReLU 0.3, one dense layer, two dense outputs. 594,480
    weights at the defaults and 192 x 192.

    Args:
        anatomy_channels: channels of the anatomy map.
        in_channels: channels of the image.
        spatial_size: size in pixels (two or three numbers); the dense layer fixes it.
        style_channels: length of z.
        features: channels of the convolutions, each of which halves the size.
        hidden: width of the dense layer.
        batch_norm: normalise in front of each LeakyReLU, as SDNet does; DAFNet does not.

    Raises:
        ValueError: when ``spatial_size`` is too small for the convolutions.

    Reference:
        Chartsias et al., IEEE TMI 2020 (arXiv:1911.04417), section III-A.
        Differs from the original code: it samples z when predicting too; use ``mu``.

    Examples:
        >>> encoder = ModalityEncoder(8, 1, (64, 64))
        >>> style = encoder(torch.zeros(2, 8, 64, 64), torch.zeros(2, 1, 64, 64))
        >>> style.mu.shape, style.logvar.shape
        (torch.Size([2, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        anatomy_channels: int,
        in_channels: int,
        spatial_size: Sequence[int],
        style_channels: int = 8,
        features: Sequence[int] = (16, 32, 64, 128),
        hidden: int = 32,
        *,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        smallest = 2 ** (len(features) + 1) - 1
        if min(spatial_size) < smallest:
            raise ValueError(f"spatial_size must be {smallest} or more along every axis, got {tuple(spatial_size)}.")
        conv = Conv[Conv.CONV, len(spatial_size)]
        self.convs = nn.Sequential()
        channels, cells = anatomy_channels + in_channels, list(spatial_size)
        for width in features:
            self.convs.append(conv(channels, width, kernel_size=3, stride=2))
            if batch_norm:
                self.convs.append(Norm[Norm.BATCH, len(spatial_size)](width, eps=NORM_EPS, momentum=NORM_MOMENTUM))
            self.convs.append(nn.LeakyReLU(0.3, inplace=True))
            channels, cells = width, [(size - 1) // 2 for size in cells]
        inputs = channels * math.prod(cells)
        norms = [_RowNorm(hidden, eps=NORM_EPS, momentum=NORM_MOMENTUM)] if batch_norm else []
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), *norms, nn.LeakyReLU(0.3, inplace=True))
        self.mu = nn.Linear(hidden, style_channels)
        self.logvar = nn.Linear(hidden, style_channels)
        self.convs.apply(he_normal)
        self.dense.apply(he_normal)
        self.mu.apply(glorot_uniform)
        self.logvar.apply(glorot_uniform)

    def forward(self, anatomy: Tensor, image: Tensor) -> StyleOutput:
        """Mean and log-variance of z, each ``(N, style_channels)``.

        Args:
            anatomy: shape ``(N, anatomy_channels, *spatial_size)``.
            image: shape ``(N, in_channels, *spatial_size)``.
        """
        hidden = self.dense(self.convs(torch.cat([anatomy, image.to(anatomy.dtype)], dim=1)))
        return StyleOutput(self.mu(hidden), self.logvar(hidden))
