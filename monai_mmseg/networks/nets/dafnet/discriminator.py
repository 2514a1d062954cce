# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Discriminator for masks and images, with spectral normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from monai.networks.layers.factories import Conv, Pad
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from monai_mmseg.networks.initialisation import glorot_uniform, he_normal
from monai_mmseg.networks.layers.spatial_check import require_spatial_size
from monai_mmseg.networks.layers.spectral import spectral_penalty

SpectralKind = Literal["norm", "penalty", "none"]
PaddingKind = Literal["valid", "same"]

_KERNEL = 4


class AdversarialDiscriminator(nn.Module):
    """One score for a whole image or mask: real or generated.

    Convolutions of kernel 4, leaky ReLU (0.2), and a dense layer without activation, as least-squares adversarial
    training wants it. At 192 x 192 there are 2,942,401 parameters with four input channels and 2,939,329 with one; with
    ``padding="same"`` and ``strides=(2, 2, 2, 2, 1)``, SDNet's, 11,294,657 with four.

    Args:
        in_channels: channels of the input; for masks the foreground classes.
        spatial_size: size of the input, two or three numbers, of at least 46 with the default strides and no padding;
            fixed by the dense layer.
        features: channels of the first convolution; they double with each further one.
        spectral: how the convolutions after the first are held near unit spectral norm: ``"norm"`` by
            :func:`torch.nn.utils.parametrizations.spectral_norm`, ``"penalty"`` by :meth:`spectral_penalty`, which then
            belongs into the loss of the discriminator, ``"none"`` not at all. None of them adds a parameter.
        padding: ``"valid"``: none. ``"same"``: zeros, so that a stride divides the size, rounded up; the odd one of
            them stands at the end, as in TensorFlow.
        strides: of the convolutions, in order.

    Raises:
        ValueError: when the size is too small, or ``spectral`` or ``padding`` is unknown.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417, and "Disentangled representation
        learning in cardiac image analysis", Medical Image Analysis 2019, https://doi.org/10.1016/j.media.2019.101535;
        X. Mao et al., "Least squares generative adversarial networks", ICCV 2017,
        https://doi.org/10.1109/ICCV.2017.304.
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
        *,
        padding: PaddingKind = "valid",
        strides: Sequence[int] = (2, 2, 2, 1),
    ) -> None:
        super().__init__()
        smallest = _smallest(strides) if padding == "valid" else 1
        if len(spatial_size) not in (2, 3) or min(spatial_size) < smallest:
            raise ValueError(
                f"spatial_size must be two or three numbers of at least {smallest}, which {len(strides)} convolutions "
                f"without padding need, got {tuple(spatial_size)}."
            )
        if spectral not in get_args(SpectralKind):
            raise ValueError(f"spectral must be one of {get_args(SpectralKind)}, got {spectral!r}.")
        if padding not in get_args(PaddingKind):
            raise ValueError(f"padding must be one of {get_args(PaddingKind)}, got {padding!r}.")
        self.spatial_size = [int(n) for n in spatial_size]
        self.spectral = str(spectral)
        self.convs = nn.Sequential()
        width_in, size = in_channels, self.spatial_size
        for index, stride in enumerate(strides):
            zeros = _same_zeros(size, stride) if padding == "same" else [(0, 0)] * len(size)
            if padding == "same":
                pad = Pad[Pad.CONSTANTPAD, len(size)]
                self.convs.append(pad([n for pair in reversed(zeros) for n in pair], 0.0))
            width_out = features * 2**index
            self.convs.append(Conv[Conv.CONV, len(size)](width_in, width_out, kernel_size=_KERNEL, stride=stride))
            self.convs.append(nn.LeakyReLU(0.2, inplace=True))
            size = [(n + sum(pair) - _KERNEL) // stride + 1 for n, pair in zip(size, zeros, strict=True)]
            width_in = width_out
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
        return [cast("nn.Conv2d", layer) for layer in self.convs if hasattr(layer, "kernel_size")][1:]

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
        """Sum of the soft penalties of the inner convolutions, a scalar; zero unless ``spectral="penalty"``."""
        total = self.out.weight.new_zeros(())
        if self.spectral == "penalty":
            for index, layer in enumerate(self._inner()):
                start = self.get_buffer(f"penalty_start_{index}")
                total = total + spectral_penalty(layer.weight.flatten(1).mT, start)
        return total


def _smallest(strides: Sequence[int]) -> int:
    """The size of which one sample is left; by default 46 -> 22 -> 10 -> 4 -> 1."""
    size = 1
    for stride in reversed(strides):
        size = (size - 1) * stride + _KERNEL
    return size


def _same_zeros(size: Sequence[int], stride: int) -> list[tuple[int, int]]:
    """Zeros in front and behind along each axis, so that ``ceil(size / stride)`` samples come out."""
    totals = [max((math.ceil(n / stride) - 1) * stride + _KERNEL - n, 0) for n in size]
    return [(total // 2, total - total // 2) for total in totals]
