# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Segmentation from an anatomy map."""

from __future__ import annotations

from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Dropout
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform, he_normal
from monai_mmseg.networks.nets.dafnet.anatomy_unet import NORM_EPS, NORM_MOMENTUM


class AnatomySegmentor(nn.Module):
    """Class logits from an anatomy map: two 3x3 convolutions with batch normalisation and ReLU, one 1x1.

    Use it behind :class:`~monai_mmseg.networks.nets.AnatomyEncoders`: one segmentor serves all modalities, because the
    anatomy is what they share. 42,181 weights for 8 anatomy channels and 5 classes.

    Args:
        anatomy_channels: channels of the anatomy map.
        out_channels: classes K, background (channel 0) included.
        features: width of the convolutions.
        spatial_dims: 2 or 3.
        dropout: probability of dropping a channel in front of the last convolution.
        negative_slope: of the activations: 0 is DAFNet's ReLU, 0.3 SDNet's leaky one.
        norm_eps: epsilon of the batch normalisation (Keras' 1e-3).
        norm_momentum: its momentum in PyTorch's sense (Keras' 0.99 is 0.01 here).

    Reference:
        Chartsias et al., IEEE TMI 2020 (arXiv:1911.04417), section III-C.
        Differs from the original code: background is the first class, the softmax is left to the loss, dropout is an
        option (there is none in the original).

    Examples:
        >>> import torch
        >>> AnatomySegmentor(8, 5)(torch.zeros(2, 8, 32, 32)).shape
        torch.Size([2, 5, 32, 32])
    """

    def __init__(
        self,
        anatomy_channels: int,
        out_channels: int,
        features: int = 64,
        *,
        spatial_dims: int = 2,
        dropout: float = 0.0,
        negative_slope: float = 0.0,
        norm_eps: float = NORM_EPS,
        norm_momentum: float = NORM_MOMENTUM,
    ) -> None:
        super().__init__()
        norm = ("batch", {"eps": norm_eps, "momentum": norm_momentum})
        act = ("leakyrelu", {"negative_slope": negative_slope}) if negative_slope else "relu"
        self.convs = nn.Sequential(
            Convolution(spatial_dims, anatomy_channels, features, kernel_size=3, norm=norm, act=act),
            Convolution(spatial_dims, features, features, kernel_size=3, norm=norm, act=act),
        )
        self.dropout = Dropout[Dropout.DROPOUT, spatial_dims](dropout)
        self.out = Convolution(spatial_dims, features, out_channels, kernel_size=1, conv_only=True)
        self.convs.apply(he_normal)
        self.out.apply(glorot_uniform)

    def forward(self, anatomy: Tensor) -> Tensor:
        """Class logits ``(N, out_channels, *spatial)`` of an anatomy ``(N, anatomy_channels, *spatial)``."""
        return self.out(self.dropout(self.convs(anatomy)))
