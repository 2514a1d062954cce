# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""U-Net for volumes with thick slices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from torch import Tensor, nn
from torch.nn import functional as F

from monai_mmseg.networks.dropout import value_dropout
from monai_mmseg.networks.initialisation import Initialisation, initialiser
from monai_mmseg.networks.layers.channel_norm import LayerSetting, channel_norm
from monai_mmseg.networks.layers.spatial_check import check_divisible

LEVELS = 4
THICK_SLICES = ((3, 3, 3), (3, 3, 3), (3, 3, 1), (3, 3, 1))


class _Layers:
    """The settings that all levels of one network have in common, and what is built from them."""

    def __init__(
        self, spatial_dims: int, norm: LayerSetting | None, act: LayerSetting, dropout: LayerSetting | float
    ) -> None:
        self.spatial_dims, self.norm, self.act, self.dropout = spatial_dims, norm, act, dropout

    def unit(self, conv: nn.Module, channels: int) -> nn.Sequential:
        """Convolution (without bias), normalisation, activation, dropout of single values."""
        parts = [
            ("conv", conv),
            ("norm", channel_norm(self.spatial_dims, channels, self.norm)),
            ("act", get_act_layer(self.act)),
            ("dropout", value_dropout(self.dropout)),
        ]
        return nn.Sequential(OrderedDict(parts))

    def conv(self, in_channels: int, out_channels: int, kernel_size: tuple[int, ...]) -> nn.Sequential:
        padding = tuple(size // 2 for size in kernel_size)
        conv = Conv[Conv.CONV, self.spatial_dims](in_channels, out_channels, kernel_size, padding=padding, bias=False)
        return self.unit(conv, out_channels)

    def deconv(self, in_channels: int, out_channels: int, kernel_size: tuple[int, ...]) -> nn.Sequential:
        return self.unit(_Doubling(self.spatial_dims, in_channels, out_channels, kernel_size), out_channels)


class _Doubling(nn.Module):
    """Transposed convolution with stride 2: sample ``i`` reaches ``2 i ... 2 i + kernel - 1``, cut at the double size.

    Where the kernel is 1, every second output is zero. Zeros in front of the image, and as many cut off again on both
    sides of the result, give the double size at once: a larger result that is cut would have gaps in memory, with which
    normalisation and every gradient behind it take ten times as long on a CPU.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel_size: tuple[int, ...]) -> None:
        super().__init__()
        self.deconv = Conv[Conv.CONVTRANS, spatial_dims](
            in_channels,
            out_channels,
            kernel_size,
            stride=2,
            padding=tuple(size - 1 for size in kernel_size),
            output_padding=1,
            bias=False,
        )
        self.zeros: list[int] = [zeros for size in reversed(kernel_size) for zeros in (size // 2, 0)]

    def forward(self, image: Tensor) -> Tensor:
        doubled: Tensor = self.deconv(F.pad(image, self.zeros))
        return doubled


class _Decoder(nn.Module):
    """Doubling, concatenation in the order (doubled, skip), two convolutions."""

    def __init__(
        self,
        layers: _Layers,
        channels: tuple[int, int, int],
        skip_channels: int,
        kernel_size: tuple[int, ...],
        up_kernel_size: tuple[int, ...],
    ) -> None:
        super().__init__()
        below, doubled, out = channels
        self.up = layers.deconv(below, doubled, up_kernel_size)
        self.first = layers.conv(doubled + skip_channels, out, kernel_size)
        self.second = layers.conv(out, out, kernel_size)

    def forward(self, image: Tensor, skip: Tensor) -> Tensor:
        return self.second(self.first(torch.cat([self.up(image), skip], dim=1)))


class AnisotropicUNet(nn.Module):
    """U-Net of four levels whose kernels are flat where the volume has become thin.

    Use it for abdominal volumes of a few thick slices (8 slices of 8 mm, say, which are one slice at the last level):
    2,201,589 weights at one input channel and five classes. Eight stages, the children of the network: ``encoder_1`` to
    ``encoder_4``, each with two convolutions and, from the second on, a max pooling in front; ``decoder_3`` to
    ``decoder_1``, each with a transposed convolution and two convolutions; ``output``, 1x1. ``skips`` names the encoder
    that a decoder is concatenated with. For several modalities see
    :class:`~monai_mmseg.networks.nets.ModalityStreams`: the paper's Y-shape separates ``encoder_1`` to ``encoder_3``,
    its X-shape every stage but ``encoder_4``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes, background included.
        features: width of each of the four levels, even numbers; the first convolution of a level has half of it.
        kernel_size: kernel of each of the four levels, odd, a number or one a dimension. A transposed convolution has
            the kernel of the level it comes from. ``None``: 3x3x3 at the first two levels and 3x3x1 below in 3D, 3x3
            in 2D.
        norm: normalisation, see ``channel_norm``; any kind has the same number of weights.
        act: activation by name, see :func:`monai.networks.layers.get_act_layer`.
        dropout: probability of dropping a value behind each activation, or MONAI's name and arguments.
        initialise: ``"he"``; ``"original"``: as the original code (:func:`~monai_mmseg.networks.narrow_normal`), which
            only fits wide networks with normalisation; or a function that is applied to every layer.

    Raises:
        ValueError: if the arguments do not fit each other, or the image is not a multiple of 8 along every axis.

    Reference:
        Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020 (arXiv:2001.03111),
        section IV-A, Network-2.
        Differs from the paper: leaky ReLU, as in the original code; the weights count 285,696 more than in the paper's
        table, which leaves out those on the concatenated channels (571,392 more with two decoders); initial weights.

    Examples:
        >>> net = AnisotropicUNet(3, 1, 5, features=(4, 8, 16, 32))
        >>> net(torch.zeros(2, 1, 32, 24, 8)).shape
        torch.Size([2, 5, 32, 24, 8])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: Sequence[int] = (32, 64, 128, 256),
        kernel_size: Sequence[Sequence[int] | int] | None = None,
        norm: LayerSetting | None = "batch",
        act: LayerSetting = ("leakyrelu", {"negative_slope": 0.2}),
        dropout: LayerSetting | float = 0.0,
        initialise: Initialisation = "he",
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
        if len(features) != LEVELS or any(width < 2 or width % 2 for width in features):
            raise ValueError(f"features must list {LEVELS} even widths, got {tuple(features)}.")
        kernels = _kernels(spatial_dims, kernel_size)
        layers = _Layers(spatial_dims, norm, act, dropout)
        first, second, third, fourth = features

        def encoder(level: int, channels: int) -> nn.Sequential:
            width, kernel = features[level - 1], kernels[level - 1]
            parts = [("first", layers.conv(channels, width // 2, kernel))]
            parts.append(("second", layers.conv(width // 2, width, kernel)))
            pool = [("pool", Pool[Pool.MAX, spatial_dims](kernel_size=2))] if level > 1 else []
            return nn.Sequential(OrderedDict([*pool, *parts]))

        def decoder(level: int, channels: tuple[int, int, int]) -> _Decoder:
            return _Decoder(layers, channels, features[level - 1], kernels[level - 1], kernels[level])

        self.encoder_1 = encoder(1, in_channels)
        self.encoder_2 = encoder(2, first)
        self.encoder_3 = encoder(3, second)
        self.encoder_4 = encoder(4, third)
        self.decoder_3 = decoder(3, (fourth, third, third))
        self.decoder_2 = decoder(2, (third, third, second))
        self.decoder_1 = decoder(1, (second, second, first))
        self.output = Conv[Conv.CONV, spatial_dims](first, out_channels, kernel_size=1)
        self.stages = tuple(name for name, _ in self.named_children())
        self.skips = {f"decoder_{level}": f"encoder_{level}" for level in (3, 2, 1)}
        self.apply(initialiser(initialise))

    def check_image(self, image: Tensor) -> None:
        """Raise a ``ValueError`` for an image ``(B, in_channels, *spatial)`` that would not come back at its size."""
        check_divisible(image.shape[2:], LEVELS - 1, "the size of image")

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *spatial)`` of an image ``(B, in_channels, *spatial)``, the thick axis last."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self.check_image(image)
        skip_1 = self.encoder_1(image)
        skip_2 = self.encoder_2(skip_1)
        skip_3 = self.encoder_3(skip_2)
        hidden = self.encoder_4(skip_3)
        hidden = self.decoder_3(hidden, skip_3)
        hidden = self.decoder_2(hidden, skip_2)
        hidden = self.decoder_1(hidden, skip_1)
        logits: Tensor = self.output(hidden)
        return logits


def _kernels(spatial_dims: int, kernel_size: Sequence[Sequence[int] | int] | None) -> list[tuple[int, ...]]:
    if kernel_size is None:
        kernel_size = THICK_SLICES if spatial_dims == 3 else (3,) * LEVELS
    kernels = [(size,) * spatial_dims if isinstance(size, int) else tuple(size) for size in kernel_size]
    fits = all(len(kernel) == spatial_dims and all(size > 0 and size % 2 for size in kernel) for kernel in kernels)
    if len(kernels) != LEVELS or not fits:
        raise ValueError(
            f"kernel_size must list {LEVELS} kernels of odd sizes, a number or {spatial_dims} numbers each, "
            f"got {kernel_size}."
        )
    return kernels
