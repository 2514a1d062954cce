# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Discriminator for masks and images, with spectral normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from monai_mmseg.networks.initialisation import glorot_uniform, he_normal
from monai_mmseg.networks.layers.spatial_check import require_spatial_size
from monai_mmseg.networks.layers.spectral import spectral_penalty

SpectralKind = Literal["norm", "penalty", "none"]

_STRIDES = (2, 2, 2, 1)
_SMALLEST = 46  # 46 -> 22 -> 10 -> 4 -> 1


class AdversarialDiscriminator(nn.Module):
    """One score for a whole image or mask: real or generated.

    Four convolutions of kernel 4 without padding, leaky ReLU (0.2), and a dense layer without activation, as
    least-squares adversarial training wants it. At 192 x 192 there are 2,942,401 parameters with four input channels
    and 2,939,329 with one.

    Args:
        in_channels: channels of the input; for masks the foreground classes.
        spatial_size: size of the input, two or three numbers of at least 46; fixed by the dense layer.
        features: channels of the first convolution; they double with each further one.
        spectral: how the three inner convolutions are held near unit spectral norm: ``"norm"`` by
            :func:`torch.nn.utils.parametrizations.spectral_norm`, ``"penalty"`` by :meth:`spectral_penalty`, which then
            belongs into the loss of the discriminator, ``"none"`` not at all. None of them adds a parameter.

    Raises:
        ValueError: when the size is too small or ``spectral`` is unknown.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417; X. Mao et al.,
        "Least squares generative adversarial networks", ICCV 2017, https://doi.org/10.1109/ICCV.2017.304.
        Differs from the published results by default: they were made with ``spectral="penalty"``, the paper's text
        describes ``"norm"``.

    Examples:
        >>> discriminator = AdversarialDiscriminator(4, spatial_size=(64, 64), features=4)
        >>> discriminator(torch.rand(2, 4, 64, 64)).shape
        torch.Size([2, 1])
        >>> discriminator.spectral_penalty().item()
        0.0
    """

    def __init__(
        self,
        in_channels: int,
        spatial_size: Sequence[int],
        features: int = 64,
        spectral: SpectralKind = "norm",
    ) -> None:
        super().__init__()
        if len(spatial_size) not in (2, 3) or min(spatial_size) < _SMALLEST:
            raise ValueError(
                f"spatial_size must be two or three numbers of at least {_SMALLEST}, which four convolutions without "
                f"padding need, got {tuple(spatial_size)}."
            )
        if spectral not in get_args(SpectralKind):
            raise ValueError(f"spectral must be one of {get_args(SpectralKind)}, got {spectral!r}.")
        convolution = Conv[Conv.CONV, len(spatial_size)]
        self.spatial_size = [int(n) for n in spatial_size]
        self.spectral = str(spectral)
        self.convs = nn.Sequential()
        width_in, size = in_channels, self.spatial_size
        for index, stride in enumerate(_STRIDES):
            width_out = features * 2**index
            self.convs.append(convolution(width_in, width_out, kernel_size=4, stride=stride))
            self.convs.append(nn.LeakyReLU(0.2, inplace=True))
            width_in, size = width_out, [(n - 4) // stride + 1 for n in size]
        self.out = nn.Linear(width_in * math.prod(size), 1)
        self.convs.apply(he_normal)
        self.out.apply(glorot_uniform)
        for index, layer in enumerate(self._inner()):
            if spectral == "norm":
                parametrizations.spectral_norm(layer)
            elif spectral == "penalty":
                # drawn once and never updated, as in the published results
                start = torch.rand(layer.weight[0].numel()) * 2 - 1
                self.register_buffer(f"penalty_start_{index}", start)

    def _inner(self) -> list[nn.Conv2d]:
        """The convolutions after the first."""
        return [cast("nn.Conv2d", self.convs[2 * index]) for index in range(1, len(_STRIDES))]

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(B, 1)``: 1 for real and 0 for generated, once trained.

        Args:
            x: image in ``[-1, 1]`` or mask probabilities, shape ``(B, in_channels, *spatial_size)``.

        Raises:
            ValueError: when the spatial size is not the one the network was built for.
        """
        require_spatial_size(x, self.spatial_size, "x")
        return self.out(self.convs(x).flatten(1))

    def spectral_penalty(self) -> Tensor:
        """Sum of the soft penalties of the three inner convolutions, a scalar; zero unless ``spectral="penalty"``."""
        total = self.out.weight.new_zeros(())
        if self.spectral == "penalty":
            for index, layer in enumerate(self._inner()):
                start = self.get_buffer(f"penalty_start_{index}")
                total = total + spectral_penalty(layer.weight.flatten(1).mT, start)
        return total
