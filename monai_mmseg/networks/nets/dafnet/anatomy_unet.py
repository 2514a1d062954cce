# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The U-Net of DAFNet, in two halves that can be shared or kept apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Dropout, Norm, Pool
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform, he_normal
from monai_mmseg.networks.layers.spatial_check import check_divisible
from monai_mmseg.networks.layers.upsampled_convolution import convolve_upsampled

# PyTorch counts momentum the other way round: these are Keras' 0.99 and 1e-3.
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01


# channels -> the normalisation layers of one convolution, one or one for each modality
MakeNorms = Callable[[int], nn.ModuleList]


def _batch_norms(spatial_dims: int, number: int, eps: float, momentum: float) -> MakeNorms:
    kind = Norm[Norm.BATCH, spatial_dims]
    return lambda channels: nn.ModuleList(kind(channels, eps=eps, momentum=momentum) for _ in range(number))


# fewer pixels in a batch do not make up for adding up the weights
_WORTH_ADDING_WEIGHTS = 256


class _ConvolutionNorm(nn.Module):
    """3x3 convolution, normalisation, and ReLU; behind a nearest upsampling it has no activation.

    Of a batch of several modalities ``rows`` says how many rows each has, in order; otherwise all are of ``modality``.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, norms: MakeNorms, *, upsample: bool = False
    ) -> None:
        super().__init__()
        self.doubles = upsample
        self.conv = Convolution(spatial_dims, in_channels, out_channels, kernel_size=3, conv_only=True)
        self.norms = norms(out_channels)
        # the normalisation does not need its output for its gradient
        self.act = nn.Identity() if upsample else nn.ReLU(inplace=True)

    def convolve(self, image: Tensor) -> Tensor:
        """The convolution, upsampled first where the layer does that."""
        if not self.doubles:
            return self.conv(image)
        # nested, because TorchScript must not see the inner call
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():  # noqa: SIM102
            if self.training and image.device.type == "cpu" and image[:, 0].numel() >= _WORTH_ADDING_WEIGHTS:
                return convolve_upsampled(image, self.conv.conv.weight, self.conv.conv.bias)
        return self.conv(F.interpolate(image, scale_factor=2.0, mode="nearest"))

    def forward(self, image: Tensor, modality: int = 0, rows: list[int] | None = None) -> Tensor:
        hidden = self.convolve(image)
        if not torch.jit.is_scripting():  # noqa: SIM102
            if rows is not None:
                return self.act(self._normalise_parts(hidden, rows))
        if len(self.norms) == 1:
            modality = 0
        out = hidden
        # TorchScript cannot index a ModuleList with a number that it does not know: it unrolls this loop. For the same
        # reason this is not `layers.ModalityNorm`, which learns the modality beside the call.
        for index, norm in enumerate(self.norms):
            if index == modality:
                out = norm(hidden)
        return self.act(out)

    def _normalise_parts(self, hidden: Tensor, rows: list[int]) -> Tensor:
        norms = list(self.norms) * (1 if len(self.norms) > 1 else len(rows))
        parts = zip(norms, hidden.split(rows), strict=True)
        return torch.cat([norm(part) for norm, part in parts if len(part)])


class _DoubleConvolution(nn.Module):
    """Two rounds of convolution, normalisation, ReLU."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, norms: MakeNorms) -> None:
        super().__init__()
        self.first = _ConvolutionNorm(spatial_dims, in_channels, out_channels, norms)
        self.second = _ConvolutionNorm(spatial_dims, out_channels, out_channels, norms)

    def forward(self, image: Tensor, modality: int = 0, rows: list[int] | None = None) -> Tensor:
        return self.second(self.first(image, modality, rows), modality, rows)


class _UpBlock(nn.Module):
    """Nearest x2, convolution and normalisation without activation, concatenation with the skip, double convolution."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, norms: MakeNorms) -> None:
        super().__init__()
        self.reduce = _ConvolutionNorm(spatial_dims, in_channels, out_channels, norms, upsample=True)
        self.convs = _DoubleConvolution(spatial_dims, 2 * out_channels, out_channels, norms)

    def forward(self, image: Tensor, skip: Tensor, modality: int = 0, rows: list[int] | None = None) -> Tensor:
        up = self.reduce(image, modality, rows)
        return self.convs(torch.cat([up, skip], dim=1), modality, rows)


class ContractingPath(nn.Module):
    """Downward half of the U-Net, without the bottleneck.

    Use it to give each modality its own first layers in front of a shared :class:`ExpandingPath`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        features: width of each level; after each level the size is halved.
        norm_eps: epsilon of the batch normalisation.
        norm_momentum: its momentum, in PyTorch's sense (weight of the new batch).

    Examples:
        >>> path = ContractingPath(2, 1, features=(4, 8))
        >>> [tuple(level.shape) for level in path(torch.zeros(1, 1, 16, 16))]
        [(1, 4, 16, 16), (1, 8, 8, 8), (1, 8, 4, 4)]
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        features: Sequence[int],
        *,
        norm_eps: float = NORM_EPS,
        norm_momentum: float = NORM_MOMENTUM,
    ) -> None:
        super().__init__()
        norms = _batch_norms(spatial_dims, 1, norm_eps, norm_momentum)
        self.levels = nn.ModuleList(
            _DoubleConvolution(spatial_dims, a, b, norms) for a, b in pairwise([in_channels, *features])
        )
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2)
        self.apply(he_normal)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the output of every level, largest first, and the pooled output of the last.

        Args:
            image: shape ``(N, in_channels, *spatial)``, spatial divisible by ``2**len(features)``.
        """
        outputs: list[Tensor] = []
        hidden = image
        for level in self.levels:
            skip = level(hidden)
            outputs.append(skip)
            hidden = self.pool(skip)
        outputs.append(hidden)
        return outputs


class ExpandingPath(nn.Module):
    """Bottleneck, upward half of the U-Net, and the last 1x1 convolution.

    Use it behind one or several :class:`ContractingPath`; with ``num_norms > 1`` the convolutions are shared and each
    modality has normalisation layers of its own.

    Args:
        spatial_dims: 2 or 3.
        features: width of each level from the largest to the bottleneck.
        out_channels: channels of the result.
        num_norms: normalisation layers a convolution, 1 = shared by all.
        dropout: probability of dropping a channel in front of the last convolution.
        norm_eps: epsilon of the batch normalisation.
        norm_momentum: its momentum, in PyTorch's sense.

    Examples:
        >>> down, up = ContractingPath(2, 1, features=(4, 8)), ExpandingPath(2, (4, 8, 16), 3, num_norms=2)
        >>> up(down(torch.zeros(1, 1, 16, 16)), 1).shape
        torch.Size([1, 3, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        features: Sequence[int],
        out_channels: int,
        *,
        num_norms: int = 1,
        dropout: float = 0.0,
        norm_eps: float = NORM_EPS,
        norm_momentum: float = NORM_MOMENTUM,
    ) -> None:
        super().__init__()
        if len(features) < 2:
            raise ValueError(f"features must list two levels or more, got {tuple(features)}.")
        norms = _batch_norms(spatial_dims, num_norms, norm_eps, norm_momentum)
        self.bottleneck = _DoubleConvolution(spatial_dims, features[-2], features[-1], norms)
        self.levels = nn.ModuleList(_UpBlock(spatial_dims, a, b, norms) for a, b in pairwise(reversed(features)))
        self.dropout = Dropout[Dropout.DROPOUT, spatial_dims](dropout)
        self.out = Convolution(spatial_dims, features[0], out_channels, kernel_size=1, conv_only=True)
        self.apply(he_normal)
        self.out.apply(glorot_uniform)

    def forward(self, levels: list[Tensor], modality: int = 0, rows: list[int] | None = None) -> Tensor:
        """Values without activation at full size, shape ``(N, out_channels, *spatial)``.

        Args:
            levels: what :meth:`ContractingPath.forward` returns.
            modality: which normalisation layers to use when ``num_norms > 1``.
            rows: of a batch of several modalities, how many rows each has; one after the other, and each normalised by
                itself. Not in TorchScript.
        """
        hidden = self.bottleneck(levels[-1], modality, rows)
        last = len(levels) - 2
        for index, block in enumerate(self.levels):
            hidden = block(hidden, levels[last - index], modality, rows)
        return self.out(self.dropout(hidden))


class AnatomyUNet(nn.Module):
    """U-Net with the layers of DAFNet's anatomy encoder, for one image and its segmentation.

    Use it as the single-network baseline beside DAFNet: same blocks, same width, 34,526,149 weights at five classes.
    Layers: two 3x3 convolutions with batch normalisation and ReLU a level, max pooling, nearest upsampling followed by
    a convolution and batch normalisation without activation, concatenation in the order (upsampled, skip).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes, background included.
        features: width of each level; the size is halved between two levels.
        dropout: probability of dropping a channel in front of the last convolution; the original has none.
        norm_eps: epsilon of the batch normalisation (Keras' 1e-3).
        norm_momentum: its momentum in PyTorch's sense (Keras' 0.99 is 0.01 here).

    Raises:
        ValueError: when the image cannot be halved ``len(features) - 1`` times.

    Reference:
        Chartsias et al., "Disentangle, align and fuse for multimodal and semi-supervised image segmentation",
        IEEE TMI 2020 (arXiv:1911.04417), sections III-A (encoder) and IV-C (baseline "UNet").

    Examples:
        >>> net = AnatomyUNet(2, 1, 5, features=(4, 8, 16))
        >>> net(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 5, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        dropout: float = 0.0,
        norm_eps: float = NORM_EPS,
        norm_momentum: float = NORM_MOMENTUM,
    ) -> None:
        super().__init__()
        self.halvings = len(features) - 1
        self.contracting = ContractingPath(
            spatial_dims, in_channels, features[:-1], norm_eps=norm_eps, norm_momentum=norm_momentum
        )
        self.expanding = ExpandingPath(
            spatial_dims, features, out_channels, dropout=dropout, norm_eps=norm_eps, norm_momentum=norm_momentum
        )

    def forward(self, image: Tensor) -> Tensor:
        """Class logits ``(N, out_channels, *spatial)`` of images ``(N, in_channels, *spatial)``."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            check_divisible(image.shape[2:], self.halvings, "the size of image")
        return self.expanding(self.contracting(image))
