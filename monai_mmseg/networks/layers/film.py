# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Feature-wise linear modulation: a style vector scales and shifts the channels of a feature map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform


def film(features: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Feature map with each channel scaled and shifted, ``features * gamma + beta``.

    Args:
        features: feature map, shape ``(B, C, *spatial)``, also of the result.
        gamma: scale of each channel, shape ``(B, C)``.
        beta: shift of each channel, shape ``(B, C)``.

    Reference:
        E. Perez et al., "FiLM: Visual reasoning with a general conditioning layer", AAAI 2018,
        https://doi.org/10.1609/aaai.v32i1.11671.

    Examples:
        >>> film(torch.ones(1, 2, 3), torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, -1.0]])).tolist()
        [[[3.0, 3.0, 3.0], [-1.0, -1.0, -1.0]]]
    """
    # nested, because TorchScript must not see the inner calls
    if not torch.jit.is_scripting() and features.device.type == "cpu":  # noqa: SIM102
        if features.dtype == torch.bfloat16 and features.stride(1) == 1 and features.dim() > 2:
            return _film_along_rows(features, gamma, beta)
    shape = list(gamma.shape) + [1] * (features.dim() - 2)
    return torch.addcmul(beta.reshape(shape), features, gamma.reshape(shape))


def _film_along_rows(features: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """The same with scale and shift written out along a row of pixels, where the channels of a pixel lie together.

    A CPU broadcasts over a few channels one pixel at a time, which in bfloat16 takes ten times as long.
    """
    pixels = features.movedim(1, -1)
    rows = pixels.reshape(pixels.shape[0], pixels.shape[1], -1)
    repeats = rows.shape[2] // gamma.shape[1]
    scaled = torch.addcmul(beta.repeat(1, repeats).unsqueeze(1), rows, gamma.repeat(1, repeats).unsqueeze(1))
    return scaled.reshape(pixels.shape).movedim(-1, 1)


class FiLM(nn.Module):
    """Modulation of a feature map by a style vector.

    Scale and shift come from one dense layer each, followed by a leaky ReLU.

    Args:
        style_channels: length of the style vector.
        features: channels of the feature map.
        negative_slope: of the leaky ReLU.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.
        Differs from the paper: there scale and shift are free; the leaky ReLU is that of the published results.

    Examples:
        >>> FiLM(style_channels=8, features=4)(torch.rand(2, 4, 6, 6), torch.rand(2, 8)).shape
        torch.Size([2, 4, 6, 6])
    """

    def __init__(self, style_channels: int, features: int, *, negative_slope: float = 0.3) -> None:
        super().__init__()
        self.negative_slope = float(negative_slope)
        self.gamma = nn.Linear(style_channels, features)
        self.beta = nn.Linear(style_channels, features)
        self.apply(glorot_uniform)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """Modulated ``features`` ``(B, features, *spatial)``; ``style`` has shape ``(B, style_channels)``."""
        gamma = F.leaky_relu(self.gamma(style), self.negative_slope)
        beta = F.leaky_relu(self.beta(style), self.negative_slope)
        return film(features, gamma, beta)


class FiLMBlock(nn.Module):
    """Residual block whose second convolution is modulated by a style vector.

    Args:
        spatial_dims: 2 or 3.
        features: channels of the feature map.
        style_channels: length of the style vector.
        negative_slope: of all leaky ReLUs.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.

    Examples:
        >>> FiLMBlock(3, features=4, style_channels=8)(torch.rand(2, 4, 6, 6, 5), torch.rand(2, 8)).shape
        torch.Size([2, 4, 6, 6, 5])
    """

    def __init__(self, spatial_dims: int, features: int, style_channels: int, *, negative_slope: float = 0.3) -> None:
        super().__init__()
        convolution = Conv[Conv.CONV, spatial_dims]
        self.negative_slope = float(negative_slope)
        self.conv_in = convolution(features, features, kernel_size=3, padding=1)
        self.conv_out = convolution(features, features, kernel_size=3, padding=1)
        self.film: nn.Module = FiLM(style_channels, features, negative_slope=negative_slope)
        self.apply(glorot_uniform)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """``features`` ``(B, features, *spatial)`` plus their modulation by ``style`` ``(B, style_channels)``.

        Further rows of ``style`` modulate the first features once more; they follow in the result.
        """
        first = F.leaky_relu(self.conv_in(features), self.negative_slope, inplace=True)
        second = self.conv_out(first)
        if style.shape[0] > features.shape[0]:
            again = style.shape[0] - features.shape[0]
            first, second = torch.cat([first, first[:again]]), torch.cat([second, second[:again]])
        return first + F.leaky_relu(self.film(second, style), self.negative_slope, inplace=True)
