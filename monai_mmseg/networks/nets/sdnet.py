# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""SDNet: anatomy and modality of one image, DAFNet's predecessor for a single modality or several mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform
from monai_mmseg.networks.layers.film import FiLMBlock, film
from monai_mmseg.networks.nets.dafnet.anatomy_encoders import AnatomyEncoders
from monai_mmseg.networks.nets.dafnet.modality_encoder import ModalityEncoder, StyleOutput
from monai_mmseg.networks.nets.dafnet.segmentor import AnatomySegmentor


class _TwoDenseFiLM(nn.Module):
    """Scale and shift from two dense layers with a LeakyReLU (0.3) between them, and none behind."""

    def __init__(self, style_channels: int, features: int) -> None:
        super().__init__()
        width = 2 * features
        self.dense = nn.Sequential(nn.Linear(style_channels, width), nn.LeakyReLU(0.3), nn.Linear(width, width))
        self.apply(glorot_uniform)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        gamma, beta = self.dense(style).chunk(2, dim=1)
        return film(features, gamma, beta)


class SDNetDecoder(nn.Module):
    """Image rendered from an anatomy and a style vector, without a layer in front of the modulated blocks.

    Use it as SDNet's decoder; DAFNet's is :class:`~monai_mmseg.networks.nets.FiLMDecoder`. 6,409 parameters with 8
    channels of anatomy and style. Takes any image size.

    Args:
        anatomy_channels: channels of the anatomy, and inside.
        style_channels: length of the style vector.
        out_channels: channels of the image.
        spatial_dims: 2 or 3.
        num_blocks: number of modulated residual blocks.

    Reference:
        A. Chartsias et al., "Disentangled representation learning in cardiac image analysis", Medical Image Analysis
        2019, https://doi.org/10.1016/j.media.2019.101535.

    Examples:
        >>> SDNetDecoder(anatomy_channels=8, style_channels=8)(torch.rand(2, 8, 32, 32), torch.randn(2, 8)).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        anatomy_channels: int,
        style_channels: int,
        out_channels: int = 1,
        *,
        spatial_dims: int = 2,
        num_blocks: int = 4,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(num_blocks):
            block = FiLMBlock(spatial_dims, anatomy_channels, style_channels)
            block.film = _TwoDenseFiLM(style_channels, anatomy_channels)
            self.blocks.append(block)
        self.out = Conv[Conv.CONV, spatial_dims](anatomy_channels, out_channels, kernel_size=3, padding=1)
        self.out.apply(glorot_uniform)

    def forward(self, anatomy: Tensor, style: Tensor) -> Tensor:
        """Image with values in ``[-1, 1]``, shape ``(B, out_channels, *spatial)``.

        Args:
            anatomy: shape ``(B, anatomy_channels, *spatial)``.
            style: shape ``(B, style_channels)``. Further rows render the first anatomies again.
        """
        features = anatomy
        for block in self.blocks:
            features = block(features, style)
        return torch.tanh(self.out(features))


class SDNet(nn.Module):
    """Segmentation of single images by a binary anatomy map, from which the images are rebuilt.

    Use it with images of one modality, or of several without telling which (one encoder for all), of which a part is
    annotated: the rebuilt images and a mask discriminator train it on the others. In a bundle of several modalities
    :class:`~monai_mmseg.networks.nets.SelectModality` feeds it. 34,645,910 weights at the defaults with five classes.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes K, background (channel 0) included.
        spatial_size: size of the image, fixed by a dense layer, divisible by ``2**(len(features) - 1)``.
        anatomy_channels: channels C of the anatomy map, and of the decoder.
        style_channels: length Z of the modality factor.
        features: width of each level of the anatomy encoder.
        segmentor_features: width of the segmentor.
        binarise: ``"round"``, ``"argmax"`` or ``"none"``, see :class:`~monai_mmseg.networks.nets.AnatomyEncoders`.
        anatomy_gain: ``initial_gain`` of :class:`~monai_mmseg.networks.nets.AnatomyEncoders`.
        dropout: probability of dropping a channel in the segmentor.

    Raises:
        ValueError: when an argument does not fit, or an image cannot be halved often enough.

    Reference:
        A. Chartsias et al., "Disentangled representation learning in cardiac image analysis", Medical Image Analysis
        2019, https://doi.org/10.1016/j.media.2019.101535.

    Examples:
        >>> net = SDNet(2, 1, 3, spatial_size=(48, 48), features=(4, 8, 16))
        >>> net(torch.zeros(2, 1, 48, 48)).shape
        torch.Size([2, 3, 48, 48])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        spatial_size: Sequence[int] = (192, 192),
        anatomy_channels: int = 8,
        style_channels: int = 8,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        segmentor_features: int = 64,
        binarise: Literal["round", "argmax", "none"] = "round",
        anatomy_gain: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(spatial_size) != spatial_dims:
            raise ValueError(f"spatial_size must be {spatial_dims} numbers, got {tuple(spatial_size)}.")
        self.style_channels = style_channels
        self.anatomy_encoder = AnatomyEncoders(
            spatial_dims,
            in_channels,
            anatomy_channels,
            num_modalities=1,
            features=features,
            binarise=binarise,
            initial_gain=anatomy_gain,
        )
        self.modality_encoder = ModalityEncoder(
            anatomy_channels, in_channels, spatial_size, style_channels, features=(16, 16, 16, 16), batch_norm=True
        )
        self.segmentor = AnatomySegmentor(
            anatomy_channels,
            out_channels,
            segmentor_features,
            spatial_dims=spatial_dims,
            dropout=dropout,
            negative_slope=0.3,
        )
        self.decoder = SDNetDecoder(anatomy_channels, style_channels, in_channels, spatial_dims=spatial_dims)

    def anatomy(self, image: Tensor) -> Tensor:
        """Binary anatomy ``(N, C, *spatial)`` of images ``(N, in_channels, *spatial)`` in [-1, 1]."""
        return self.anatomy_encoder(image, 0)

    def style(self, anatomy: Tensor, image: Tensor) -> StyleOutput:
        """Mean and log-variance of the modality factor, ``(N, Z)``, from an anatomy and the image it came from."""
        return self.modality_encoder(anatomy, image)

    def decode(self, anatomy: Tensor, style: Tensor) -> Tensor:
        """Image in [-1, 1], ``(N, in_channels, *spatial)``, of anatomy ``(N, C, *spatial)`` and factor ``(N, Z)``."""
        return self.decoder(anatomy, style)

    def segment(self, anatomy: Tensor) -> Tensor:
        """Class logits ``(N, K, *spatial)`` of an anatomy ``(N, C, *spatial)``."""
        return self.segmentor(anatomy)

    def forward(self, image: Tensor) -> Tensor:
        """Class logits ``(N, K, *spatial)`` of images ``(N, in_channels, *spatial)`` in [-1, 1]."""
        return self.segment(self.anatomy(image))
