# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""U-Net with gated skip connections, from images or anatomies to one image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional as F

from monai_mmseg.networks.layers.attention_gate import SpatialAttentionGate
from monai_mmseg.networks.layers.spatial_check import check_divisible
from monai_mmseg.networks.nets.disentangle.encoders import INTERPOLATION, SLOPE, AnatomyActivation


class AttentionGatedUNet(nn.Module):
    """U-Net of five levels whose skip connections are weighed by the level below.

    Use it to make an image (a PET) from other images or from anatomies. 4 x 4 convolutions of stride 2 on the way down,
    linear upsampling and 3 x 3 convolutions on the way up, batch normalisation everywhere but in the first and last
    convolution; no activation at the end. From 12 channels to one it has 14,775,109 parameters, 12,423,297 without
    gates (the released code: two more, of a normalisation that does nothing).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the result.
        features: channels of the levels, from fine to coarse.
        gates: weigh the skip connections; else they are passed on as they are.
        activation: ``"relu"``: as the paper says (leaky on the way down); ``"original"``: as the released code does by
            accident, one leaky ReLU behind the first convolution and those inside of the gates.

    Raises:
        ValueError: if an argument is not possible.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: the network of the PET task.

    Examples:
        >>> AttentionGatedUNet(2, 12, 1, features=(4, 8, 8, 8, 8))(torch.rand(1, 12, 64, 32)).shape
        torch.Size([1, 1, 64, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: Sequence[int] = (64, 128, 256, 512, 512),
        gates: bool = True,
        activation: AnatomyActivation = "relu",
    ) -> None:
        super().__init__()
        if activation not in get_args(AnatomyActivation):
            raise ValueError(f"activation must be one of {get_args(AnatomyActivation)}, got {activation!r}.")
        if len(features) < 2:
            raise ValueError(f"features must have at least two levels, got {tuple(features)}.")
        self.levels, self.mode, self.paper = len(features), INTERPOLATION[spatial_dims], activation == "relu"
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        self.leaky = nn.LeakyReLU(SLOPE)
        self.down_1 = conv(in_channels, features[0], kernel_size=4, stride=2, padding=1)
        self.down = nn.ModuleList(
            nn.Sequential(conv(a, b, kernel_size=4, stride=2, padding=1), norm(b)) for a, b in pairwise(features)
        )
        # each level on the way up has the channels of the skip beside it; behind it both are joined
        widths = list(reversed(features[:-1]))
        sources = [features[-1], *[2 * width for width in widths[:-1]]]
        self.up = nn.ModuleList(
            nn.Sequential(conv(a, b, kernel_size=3, padding=1), norm(b)) for a, b in zip(sources, widths, strict=True)
        )
        self.gates = nn.ModuleList(
            SpatialAttentionGate(spatial_dims, b, a) if gates else _Ungated()
            for a, b in zip(sources, widths, strict=True)
        )
        self.out = conv(2 * features[0], out_channels, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Image ``(B, out_channels, *spatial)`` of ``(B, in_channels, *spatial)``.

        Raises:
            ValueError: if a size is not divisible by 2 to the number of levels.
        """
        if not torch.jit.is_scripting():
            check_divisible(image.shape[2:], self.levels, "image")
        hidden = self.leaky(self.down_1(image))
        skips = [hidden]
        for number, level in enumerate(self.down):
            hidden = level(hidden)
            if number + 2 < self.levels:
                hidden = self.leaky(hidden) if self.paper else hidden
                skips.append(hidden)
        for level, gate in zip(self.up, self.gates):  # noqa: B905 - TorchScript knows no strict
            skip = gate(skips.pop(), hidden)
            hidden = torch.cat([skip, level(self._enlarge(hidden))], 1)
        made: Tensor = self.out(self._enlarge(hidden))
        return made

    def _enlarge(self, hidden: Tensor) -> Tensor:
        if self.paper:
            hidden = hidden.relu()
        return F.interpolate(hidden, scale_factor=2.0, mode=self.mode, align_corners=True)


class _Ungated(nn.Module):
    """A skip connection that looks at nothing else."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return x
