# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Convolutions of MUNIT, and instance normalisation whose scale and shift are given from outside."""

from __future__ import annotations

import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_mmseg.networks.layers.film import film


def reflected_conv(spatial_dims: int, inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Module:
    """Convolution whose border is mirrored, so that halving a size of two or more is exact.

    Args:
        spatial_dims: 2 or 3.
        inputs: channels.
        outputs: channels.
        kernel_size: odd with stride 1, even with stride 2.
        stride: 1 or 2.

    Examples:
        >>> import torch
        >>> reflected_conv(2, 1, 4, kernel_size=4, stride=2)(torch.zeros(1, 1, 9, 6)).shape
        torch.Size([1, 4, 4, 3])
    """
    padding = (kernel_size - 1) // 2
    layer: nn.Module = Conv[Conv.CONV, spatial_dims](
        inputs, outputs, kernel_size, stride=stride, padding=padding, padding_mode="reflect"
    )
    return layer


def adaptive_instance_norm(features: Tensor, scale: Tensor, shift: Tensor, eps: float = 1e-5) -> Tensor:
    """Feature map in which each channel of each row has the deviation ``|scale|`` and the mean ``shift``.

    Args:
        features: shape ``(B, C, *spatial)``, also of the result.
        scale: shape ``(B, C)``.
        shift: shape ``(B, C)``.
        eps: added to the variance.

    Reference:
        Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization", ICCV 2017,
        arXiv:1703.06868, Eq. 8.

    Examples:
        >>> import torch
        >>> features = torch.tensor([[[0.0, 2.0]]])
        >>> adaptive_instance_norm(features, torch.tensor([[3.0]]), torch.tensor([[10.0]]), eps=0).tolist()
        [[[7.0, 13.0]]]
    """
    return film(F.instance_norm(features, eps=eps), scale.to(features.dtype), shift.to(features.dtype))


class ContentBlock(nn.Module):
    """Residual block with instance normalisation; ``scales`` and ``shifts`` of it may be given.

    Args:
        spatial_dims: 2 or 3.
        channels: of the feature map.

    Examples:
        >>> import torch
        >>> ContentBlock(2, 4)(torch.rand(1, 4, 6, 6)).shape
        torch.Size([1, 4, 6, 6])
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.first = reflected_conv(spatial_dims, channels, channels, kernel_size=3)
        self.second = reflected_conv(spatial_dims, channels, channels, kernel_size=3)

    def forward(self, features: Tensor, adaptation: Tensor | None = None) -> Tensor:
        """The features, shape ``(B, channels, *spatial)``, plus what the block makes of them.

        Args:
            features: the feature map.
            adaptation: scale and shift of the first normalisation, then of the second, ``(B, 4, channels)``; ``None``:
                one and zero.
        """
        if adaptation is None:
            hidden = F.relu(F.instance_norm(self.first(features)))
            return features + F.instance_norm(self.second(hidden))
        one_scale, one_shift, two_scale, two_shift = adaptation.unbind(1)
        hidden = F.relu(adaptive_instance_norm(self.first(features), one_scale, one_shift))
        return features + adaptive_instance_norm(self.second(hidden), two_scale, two_shift)
