# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The decoder of the representation disentanglement: an image from an anatomy and a code."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_mmseg.networks.layers.conditional_conv import ConditionalConvInit, Routing
from monai_mmseg.networks.layers.spatial_check import check_divisible
from monai_mmseg.networks.nets.disentangle.encoders import ModalityConv
from monai_mmseg.networks.nets.disentangle.folding import fold_convolutions, set_edges
from monai_mmseg.networks.nets.disentangle.modulation import enlarge, modulate

FOLDED = 16  # edge from which on one larger convolution and the strips along the edges are less work than two


class SpadeMaps(NamedTuple):
    """Scale and shift of a feature map, pixel by pixel."""

    gamma: Tensor
    beta: Tensor


class DisentangleSpadeBlock(nn.Module):
    """Instance normalisation that an anatomy scales and shifts, then a convolution; without activation.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the features.
        out_channels: channels of the result.
        anatomy_channels: channels of the anatomy.
        num_modalities: M.
        conditional: mix kernels for each modality.
        num_experts: of the conditional convolutions, as ``routing`` and ``init``.
        routing: see :class:`~monai_mmseg.networks.layers.ConditionalConv`.
        init: see there.

    Examples:
        >>> block = DisentangleSpadeBlock(2, 8, 6, 4)
        >>> maps = block.maps(torch.rand(2, 4, 32, 32), (8, 8))
        >>> block(torch.rand(2, 8, 8, 8), maps).shape
        torch.Size([2, 6, 8, 8])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        anatomy_channels: int,
        num_modalities: int = 1,
        *,
        conditional: bool = False,
        num_experts: int = 3,
        routing: Routing = "table",
        init: ConditionalConvInit = "plain",
    ) -> None:
        super().__init__()

        def conv(a: int, b: int) -> ModalityConv:
            return ModalityConv(
                spatial_dims,
                a,
                b,
                num_modalities,
                conditional=conditional,
                padding=1,
                num_experts=num_experts,
                routing=routing,
                init=init,
            )

        self.shared = conv(anatomy_channels, in_channels)
        self.gamma = conv(in_channels, in_channels)
        self.beta = conv(in_channels, in_channels)
        self.out = conv(in_channels, out_channels)

    def maps(self, anatomy: Tensor, size: Sequence[int], modality: int | Sequence[int] | Tensor = 0) -> SpadeMaps:
        """Scale and shift ``(N, in_channels, *size)``, of the anatomy alone unless the block is conditional.

        Args:
            anatomy: shape ``(N, anatomy_channels, *any)``.
            size: of the features.
            modality: index of the modality of all rows, or of each.
        """
        anatomy = enlarge(anatomy, size)
        if not self.gamma.conditional and min(size) >= FOLDED:
            return SpadeMaps(*self._folded(anatomy))
        hidden = self.shared(anatomy, modality)
        return SpadeMaps(self.gamma(hidden, modality), self.beta(hidden, modality))

    def _folded(self, anatomy: Tensor) -> list[Tensor]:
        """The maps, by one 5 x 5 convolution each: there is no activation between the two of 3 x 3.

        Not so in the outermost pixels, where the second convolution finds zeros beside what the first one made.
        """
        convs = (self.gamma, self.beta)
        maps = [fold_convolutions(self.shared.conv, conv.conv, anatomy) for conv in convs]
        edges: list[tuple[int, int]] = []
        strips: list[list[Tensor]] = [[], []]
        for axis in range(2, anatomy.ndim):
            for last in (0, 1):
                edges.append((axis, -last))
                strip = anatomy.narrow(axis, last * (anatomy.shape[axis] - 3), 3)
                hidden = self.shared(strip, 0).narrow(axis, last, 2)
                for own, conv in zip(strips, convs, strict=True):
                    own.append(conv(hidden, 0).narrow(axis, last, 1))
        return [set_edges(own, edges, strip) for own, strip in zip(maps, strips, strict=True)]

    def forward(
        self,
        features: Tensor,
        maps: SpadeMaps,
        modality: int | Sequence[int] | Tensor = 0,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Features, normalised, scaled, shifted and convolved: ``(N, out_channels, *size)``.

        Args:
            features: shape ``(N, in_channels, *size)``; those of another size than the maps are interpolated first.
            maps: of :meth:`maps`.
            modality: index of the modality of all rows, or of each.
            rows: which row of the maps each row has, int64 ``(N,)``. ``None``: its own.
        """
        recon: Tensor = self.out(modulate(features, maps.gamma, maps.beta, rows), modality)
        return recon


class DisentangleDecoder(nn.Module):
    """Image from an anatomy and an appearance code.

    The code becomes a small feature map; six blocks add the anatomy to it while it grows. What an anatomy contributes
    does not depend on the code, so :meth:`maps` is computed once for all codes that it is decoded with.

    Args:
        spatial_dims: 2 or 3.
        out_channels: channels of an image.
        spatial_size: of the images, divisible by 32 along every axis and larger than 32 along one of them.
        anatomy_channels: channels of the anatomy.
        code_size: numbers of the code.
        features: channels of the blocks: in front of the first, then behind each.
        num_modalities: M.
        conditional: mix kernels for each modality. The default does not, so that only the code can tell the modality.
        activation: of the image, ``"none"`` or ``"softplus"``.
        num_experts: of the conditional convolutions, as ``routing`` and ``init``.
        routing: see :class:`~monai_mmseg.networks.layers.ConditionalConv`.
        init: see there.

    Raises:
        ValueError: if an argument is not possible.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: D, with the layers of the released code.

    Examples:
        >>> decoder = DisentangleDecoder(2, 3, (64, 32), features=(8, 8, 8, 8, 4, 4, 2))
        >>> decoder(torch.rand(2, 4, 64, 32), torch.rand(2, 16)).shape
        torch.Size([2, 3, 64, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        out_channels: int,
        spatial_size: Sequence[int],
        *,
        anatomy_channels: int = 4,
        code_size: int = 16,
        features: Sequence[int] = (128, 128, 128, 128, 64, 32, 16),
        num_modalities: int = 1,
        conditional: bool = False,
        activation: Literal["none", "softplus"] = "none",
        num_experts: int = 3,
        routing: Routing = "table",
        init: ConditionalConvInit = "plain",
    ) -> None:
        super().__init__()
        self.spatial_size, self.levels = tuple(spatial_size), len(features) - 2
        if len(self.spatial_size) != spatial_dims or self.levels < 1:
            raise ValueError(
                f"spatial_size must have {spatial_dims} numbers and features at least three, got {self.spatial_size} "
                f"and {tuple(features)}."
            )
        check_divisible(self.spatial_size, self.levels, "spatial_size")
        self.start = tuple(size // 2**self.levels for size in self.spatial_size)
        if all(size == 1 for size in self.start):
            raise ValueError(
                f"spatial_size must leave more than one pixel after {self.levels} halvings, which the normalisation "
                f"needs, got {self.spatial_size}."
            )
        if activation not in ("none", "softplus"):
            raise ValueError(f"activation must be 'none' or 'softplus', got {activation!r}.")
        self.spatial_dims, self.activation, self.width = spatial_dims, str(activation), features[0]
        own: dict[str, Any] = {"conditional": conditional, "num_experts": num_experts, "routing": routing, "init": init}
        self.code = nn.Linear(code_size, features[0] * torch.Size(self.start).numel())
        self.blocks = nn.ModuleList(
            DisentangleSpadeBlock(spatial_dims, a, b, anatomy_channels, num_modalities, **own)
            for a, b in pairwise(features)
        )
        self.out = ModalityConv(spatial_dims, features[-1], out_channels, num_modalities, kernel_size=1, **own)

    def maps(self, anatomy: Tensor, modality: int | Sequence[int] | Tensor = 0) -> list[SpadeMaps]:
        """What an anatomy contributes to each block; arguments as in a call."""
        size = self.start
        found = []
        for number, block in enumerate(self.blocks):
            found.append(cast(DisentangleSpadeBlock, block).maps(anatomy, size, modality))
            if number < self.levels:
                size = tuple(2 * edge for edge in size)
        return found

    def reconstruct(
        self,
        maps: Sequence[SpadeMaps],
        code: Tensor,
        modality: int | Sequence[int] | Tensor = 0,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Images from :meth:`maps` of anatomies and codes, row by row; other arguments and shape as in a call.

        Args:
            maps: of :meth:`maps`.
            code: shape ``(N, code_size)``.
            modality: index of the modality of all rows, or of each.
            rows: which of the anatomies each image has, int64 ``(N,)``. ``None``: each its own.
        """
        hidden = self.code(code).reshape(-1, self.width, *self.start)
        for block, own in zip(self.blocks, maps, strict=True):
            hidden = block(hidden, own, modality, rows)
        image: Tensor = self.out(hidden, modality)
        return F.softplus(image) if self.activation == "softplus" else image

    def forward(self, anatomy: Tensor, code: Tensor, modality: int | Sequence[int] | Tensor = 0) -> Tensor:
        """Images ``(N, out_channels, *spatial_size)`` of anatomies with codes, row by row.

        Args:
            anatomy: shape ``(N, anatomy_channels, *spatial_size)``.
            code: shape ``(N, code_size)``.
            modality: index of the modality of all rows, or of each, for a conditional decoder.
        """
        return self.reconstruct(self.maps(anatomy, modality), code, modality)
