# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Spatially adaptive normalisation: an anatomy scales and shifts a normalised feature map pixel by pixel."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform

SpadeNormKind = Literal["instance", "joint"]


def _single(x: Tensor) -> Tensor:
    """At least single precision, which variances need."""
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def instance_normalise(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance per sample and channel, without parameters or running statistics.

    Unlike :func:`torch.nn.functional.instance_norm` it accepts maps of a single pixel, which become zero.

    Args:
        x: feature map, shape ``(B, C, *spatial)``; the result has its shape and type.
        eps: added to the variance.

    Examples:
        >>> instance_normalise(torch.tensor([[[1.0, 3.0], [10.0, 30.0]]])).round().tolist()
        [[[-1.0, 1.0], [-1.0, 1.0]]]
    """
    values = _single(x)
    axes = list(range(2, x.dim()))
    mean = values.mean(axes, keepdim=True)
    variance = (values - mean).square().mean(axes, keepdim=True)
    return ((values - mean) * torch.rsqrt(variance + eps)).to(x.dtype)


def joint_normalise(x: Tensor, eps: float = 1e-3) -> Tensor:
    """Zero mean and unit standard deviation per sample, over channels and pixels together.

    Args:
        x: feature map, shape ``(B, C, *spatial)``; the result has its shape and type.
        eps: added to the standard deviation.

    Examples:
        >>> joint_normalise(torch.tensor([[[1.0, 3.0], [1.0, 3.0]]])).round().tolist()
        [[[-1.0, 1.0], [-1.0, 1.0]]]
    """
    values = _single(x)
    axes = list(range(1, x.dim()))
    mean = values.mean(axes, keepdim=True)
    variance = (values - mean).square().mean(axes, keepdim=True)
    # the root has no finite slope at 0, where constant maps (zero style, zero bias) lie
    std = variance.clamp(min=1e-12).sqrt()
    return ((values - mean) / (std + eps)).to(x.dtype)


class SpadeNorm(nn.Module):
    """Normalisation whose scale and shift are maps computed from an anatomy.

    Unlike :class:`monai.networks.blocks.SPADE`, which also normalises scale and shift themselves (MONAI 1.6), it
    leaves them free, as the literature does, and it offers a choice of the statistics.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the feature map.
        anatomy_channels: channels of the anatomy.
        hidden: channels between anatomy and the two maps.
        norm: ``"instance"`` normalises each channel (the literature), ``"joint"`` all channels together (published
            results of DAFNet).

    Raises:
        ValueError: when ``norm`` is unknown.

    Reference:
        T. Park et al., "Semantic image synthesis with spatially-adaptive normalization", CVPR 2019,
        https://doi.org/10.1109/CVPR.2019.00244.

    Examples:
        >>> layer = SpadeNorm(2, channels=6, anatomy_channels=8)
        >>> layer(torch.rand(2, 6, 8, 8), torch.rand(2, 8, 32, 32)).shape
        torch.Size([2, 6, 8, 8])
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        anatomy_channels: int,
        *,
        hidden: int = 128,
        norm: SpadeNormKind = "instance",
    ) -> None:
        super().__init__()
        if norm not in get_args(SpadeNormKind):
            raise ValueError(f"norm must be one of {get_args(SpadeNormKind)}, got {norm!r}.")
        convolution = Conv[Conv.CONV, spatial_dims]
        self.norm = str(norm)
        self.shared = convolution(anatomy_channels, hidden, kernel_size=3, padding=1)
        self.gamma = convolution(hidden, channels, kernel_size=3, padding=1)
        self.beta = convolution(hidden, channels, kernel_size=3, padding=1)
        self.apply(glorot_uniform)

    def forward(self, features: Tensor, anatomy: Tensor) -> Tensor:
        """Features, normalised and modulated.

        Args:
            features: feature map, shape ``(B, channels, *spatial)``, also of the result.
            anatomy: shape ``(B, anatomy_channels, *any_spatial)``; resized to the features by nearest neighbour. Where
                there are fewer than features, the further features have the first anatomies again.
        """
        size = list(features.shape[2:])
        if list(anatomy.shape[2:]) != size:
            anatomy = F.interpolate(anatomy, size=size, mode="nearest")
        shared = torch.relu_(self.shared(anatomy))
        gamma, beta = self.gamma(shared), self.beta(shared)
        if features.shape[0] > anatomy.shape[0]:
            again = features.shape[0] - anatomy.shape[0]
            gamma, beta = torch.cat([gamma, gamma[:again]]), torch.cat([beta, beta[:again]])
        normal = joint_normalise(features) if self.norm == "joint" else instance_normalise(features)
        return torch.addcmul(normal + beta, normal, gamma)

    def extra_repr(self) -> str:
        """Settings for ``print(module)``."""
        return f"norm={self.norm!r}"


class SpadeResBlock(nn.Module):
    """Residual block with spatially adaptive normalisation.

    Two times normalisation, leaky ReLU (0.2), 3x3 convolution; the shortcut is the input itself, or, where the channels
    change, its normalisation and a 1x1 convolution.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        anatomy_channels: channels of the anatomy.
        hidden: see :class:`SpadeNorm`.
        norm: see :class:`SpadeNorm`.

    Reference:
        T. Park et al., CVPR 2019, https://doi.org/10.1109/CVPR.2019.00244.
        Differs from the paper: no spectral normalisation.

    Examples:
        >>> block = SpadeResBlock(2, 6, 4, anatomy_channels=8)
        >>> block(torch.rand(2, 6, 8, 8), torch.rand(2, 8, 32, 32)).shape
        torch.Size([2, 4, 8, 8])
    """

    __constants__ = ("learned_shortcut",)  # lets TorchScript drop the branch of a shortcut that is not there

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        anatomy_channels: int,
        *,
        hidden: int = 128,
        norm: SpadeNormKind = "instance",
    ) -> None:
        super().__init__()
        convolution = Conv[Conv.CONV, spatial_dims]
        middle = min(in_channels, out_channels)
        self.learned_shortcut = in_channels != out_channels
        self.norm_in = SpadeNorm(spatial_dims, in_channels, anatomy_channels, hidden=hidden, norm=norm)
        self.conv_in = convolution(in_channels, middle, kernel_size=3, padding=1)
        self.norm_out = SpadeNorm(spatial_dims, middle, anatomy_channels, hidden=hidden, norm=norm)
        self.conv_out = convolution(middle, out_channels, kernel_size=3, padding=1)
        if self.learned_shortcut:
            self.norm_shortcut = SpadeNorm(spatial_dims, in_channels, anatomy_channels, hidden=hidden, norm=norm)
            self.conv_shortcut = convolution(in_channels, out_channels, kernel_size=1, bias=False)
        self.apply(glorot_uniform)

    def forward(self, features: Tensor, anatomy: Tensor) -> Tensor:
        """Features of shape ``(B, out_channels, *spatial)``.

        Args:
            features: feature map, shape ``(B, in_channels, *spatial)``.
            anatomy: shape ``(B, anatomy_channels, *any_spatial)``.
        """
        main = self.conv_in(F.leaky_relu(self.norm_in(features, anatomy), 0.2))
        main = self.conv_out(F.leaky_relu(self.norm_out(main, anatomy), 0.2))
        if self.learned_shortcut:
            features = self.conv_shortcut(self.norm_shortcut(features, anatomy))
        return features + main
