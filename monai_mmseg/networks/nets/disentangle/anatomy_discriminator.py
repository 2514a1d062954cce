# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Classifier that tries to tell of which modality an anatomy was made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn

from monai_mmseg.networks.layers.spatial_check import check_divisible, require_spatial_size

SLOPE = 0.2


class AnatomyDiscriminator(nn.Module):
    """Convolutions of stride 2 and a dense head: logits of the modality that an anatomy was made of.

    Use it as adversary of an encoder whose anatomies shall not show their modality, or, with a weight of zero, as a
    probe of how much they show. At 160 x 192 with one logit it has 797,041 parameters, 305,585 with ``patch``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of an anatomy.
        out_channels: number of modalities; 1 for the released code's pair of them.
        spatial_size: of the anatomies, divisible by 2 to the number of convolutions; a dense layer fixes it.
        features: channels of the convolutions of stride 2.
        hidden: neurons between them and the logits.
        patch: a 3 x 3 convolution in place of the dense layers; its logits are averaged over the image.

    Raises:
        ValueError: when the size does not fit.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: the baseline "+Adv", with the layers of the released code.

    Examples:
        >>> import torch
        >>> classifier = AnatomyDiscriminator(2, 4, 3, spatial_size=(64, 32), features=(2, 4, 4, 4, 4))
        >>> classifier(torch.rand(2, 4, 64, 32)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 4,
        out_channels: int = 1,
        *,
        spatial_size: Sequence[int] = (160, 192),
        features: Sequence[int] = (16, 32, 64, 128, 64),
        hidden: int = 256,
        patch: bool = False,
    ) -> None:
        super().__init__()
        self.spatial_size = [int(n) for n in spatial_size]
        if len(self.spatial_size) != spatial_dims:
            raise ValueError(f"spatial_size must have {spatial_dims} numbers, got {tuple(self.spatial_size)}.")
        check_divisible(self.spatial_size, len(features), "spatial_size")
        last = math.prod(size // 2 ** len(features) for size in self.spatial_size)
        if last < 2:
            raise ValueError(
                f"spatial_size must leave more than one pixel behind {len(features)} convolutions of stride 2, for "
                f"their normalisation, got {tuple(self.spatial_size)}."
            )
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        self.convs = nn.Sequential()
        for number, (inner, outer) in enumerate(pairwise([in_channels, *features])):
            self.convs.append(conv(inner, outer, kernel_size=4, stride=2, padding=1))
            if number:
                self.convs.append(norm(outer))
            self.convs.append(nn.LeakyReLU(SLOPE))
        self.head: nn.Module
        if patch:
            self.head = conv(features[-1], out_channels, kernel_size=3, padding=1)
        else:
            self.head = nn.Sequential(
                nn.Flatten(),
                nn.Linear(features[-1] * last, hidden),
                nn.LeakyReLU(SLOPE),
                nn.Linear(hidden, out_channels),
            )

    def forward(self, anatomy: Tensor) -> Tensor:
        """Logits ``(N, out_channels)`` of anatomies ``(N, in_channels, *spatial_size)``.

        Raises:
            ValueError: for another spatial size.
        """
        require_spatial_size(anatomy, self.spatial_size, "anatomy")
        logits: Tensor = self.head(self.convs(anatomy))
        return logits.flatten(2).mean(2) if logits.ndim > 2 else logits
