# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Residual network with few downsamplings, a dilated end and sub-pixel upsampling."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from torch import Tensor, nn
from torch.nn import functional as F

from monai_mmseg.networks.dropout import value_dropout
from monai_mmseg.networks.initialisation import Initialisation, initialiser
from monai_mmseg.networks.layers import SymmetricPad
from monai_mmseg.networks.layers.channel_norm import LayerSetting, channel_norm
from monai_mmseg.networks.layers.spatial_check import check_divisible

HALVINGS = 3  # one behind each of the first groups; the sub-pixel shuffle doubles as often
HEAD_FEATURES = 8  # full-size channels for each class in front of the last convolution


class _Layers:
    """The settings that all blocks of one network have in common, and what is built from them."""

    def __init__(
        self, spatial_dims: int, norm: LayerSetting | None, act: LayerSetting, dropout: LayerSetting | float
    ) -> None:
        self.spatial_dims, self.norm, self.act, self.dropout = spatial_dims, norm, act, dropout

    def conv(self, in_channels: int, out_channels: int, kernel_size: int, padding: int, dilation: int = 1) -> nn.Module:
        conv: nn.Module = Conv[Conv.CONV, self.spatial_dims](
            in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=False
        )
        return conv

    def normalisation(self, channels: int) -> nn.Module:
        return channel_norm(self.spatial_dims, channels, self.norm)


class _PreActivated(nn.Module):
    """Normalisation, activation, 3x3 convolution, dropout of single values.

    No ``nn.Sequential``: TorchScript takes one whose children have the same names in another order for the same type,
    and then runs either in the order of the one it met first.
    """

    def __init__(self, layers: _Layers, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm = layers.normalisation(in_channels)
        self.act = get_act_layer(layers.act)
        self.conv = layers.conv(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
        self.dropout = value_dropout(layers.dropout)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.conv(self.act(self.norm(image))))
        return out


class _ResidualBlock(nn.Module):
    """Two pre-activated convolutions beside the image, whose channels are padded with zeros on both sides."""

    def __init__(self, layers: _Layers, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.first = _PreActivated(layers, in_channels, out_channels, dilation)
        self.second = _PreActivated(layers, out_channels, out_channels, dilation)
        added = out_channels - in_channels
        self.padding: list[int] = [0] * (2 * layers.spatial_dims) + [added // 2, added - added // 2]
        self.widens = added > 0

    def forward(self, image: Tensor) -> Tensor:
        skip = F.pad(image, self.padding) if self.widens else image
        return self.second(self.first(image)) + skip


class _SubPixelShuffle(nn.Module):
    """Channels to pixels, the cell in the order of :class:`torch.nn.PixelShuffle`.

    One copy that leaves the channels last, where MONAI's leaves them first: gradients then meet the activation in
    another layout than its values, which takes ten times as long on a CPU.
    """

    def __init__(self, spatial_dims: int, factor: int) -> None:
        super().__init__()
        self.spatial_dims, self.factor = spatial_dims, factor
        self.cell = factor**spatial_dims

    def forward(self, image: Tensor) -> Tensor:
        dims, channels = self.spatial_dims, image.shape[1] // self.cell
        size: list[int] = list(image.shape[2:])
        cells = image.movedim(1, -1).reshape([image.shape[0]] + size + [channels] + [self.factor] * dims)
        order = [0]
        for axis in range(dims):
            order += [1 + axis, 2 + dims + axis]
        order.append(1 + dims)
        doubled = [image.shape[0]] + [self.factor * length for length in size] + [channels]
        return cells.permute(order).reshape(doubled).movedim(-1, 1)


class DilatedResidualNet(nn.Sequential):
    """Segmentation of slices by a deep residual network that works at an eighth of the size.

    Use it for 2D slices with their neighbours as channels, a few thousand of them at least: 39,322,648 weights at three
    input channels and five classes. Eleven stages at the defaults, the children of the network in order:

    - ``group_1`` ... ``group_8``: residual blocks, in front of the first a plain convolution; each of the first three
      ends with a max pooling, the convolutions of the last are dilated;
    - ``group_9``: two convolutions without a skip;
    - ``group_10``: convolution, normalisation, activation, sub-pixel shuffle back to full size;
    - ``output``: 5x5 convolution to the logits.

    Normalisation and activation stand in front of the convolutions except in ``group_10``; no convolution has a bias.
    ``group_10`` and ``output`` pad symmetrically, all others with zeros. For several modalities see
    :class:`~monai_mmseg.networks.nets.ModalityStreams`: the paper's Y-shape separates ``group_1`` to ``group_4``, its
    X-shape also ``group_8``, ``group_9``, ``group_10`` and ``output``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image, e.g. adjacent slices.
        out_channels: classes, background included.
        features: width of each residual group, never shrinking; three or more.
        num_blocks: residual blocks of each group.
        dilations: dilation of each group's convolutions.
        norm: normalisation, see ``channel_norm``; any kind has the same number of weights.
        act: activation by name, see :func:`monai.networks.layers.get_act_layer`.
        dropout: probability of dropping a value behind a convolution, or MONAI's name and arguments.
        initialise: ``"he"``; ``"original"``: as the original code (:func:`~monai_mmseg.networks.narrow_normal`), which
            only fits wide networks with normalisation; or a function that is applied to every layer.

    Raises:
        ValueError: if the arguments do not fit each other, or the image is not a multiple of 8 along every axis.

    Reference:
        Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020 (arXiv:2001.03111),
        section IV-A, Network-1.
        Differs from the paper: leaky ReLU and pre-activation, as in the original code; the original shuffle swaps rows
        and columns of a cell when the batch has more than one image, which is a permutation of ``group_10``'s channels;
        initial weights.

    Examples:
        >>> net = DilatedResidualNet(2, 3, 5, features=(4, 8, 8, 16), num_blocks=(1, 1, 1, 1), dilations=(1, 1, 1, 2))
        >>> net.stages
        ('group_1', 'group_2', 'group_3', 'group_4', 'group_5', 'group_6', 'output')
        >>> net(torch.zeros(2, 3, 32, 48)).shape
        torch.Size([2, 5, 32, 48])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        features: Sequence[int] = (16, 32, 64, 128, 256, 256, 512, 512),
        num_blocks: Sequence[int] = (1, 1, 2, 2, 2, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1, 1, 1, 1, 2),
        norm: LayerSetting | None = "batch",
        act: LayerSetting = ("leakyrelu", {"negative_slope": 0.2}),
        dropout: LayerSetting | float = 0.25,
        initialise: Initialisation = "he",
    ) -> None:
        _check_settings(spatial_dims, features, num_blocks, dilations)
        layers = _Layers(spatial_dims, norm, act, dropout)
        groups: list[list[tuple[str, nn.Module]]] = [[("conv", layers.conv(in_channels, features[0], 3, padding=1))]]
        groups += [[] for _ in features[1:]]
        widths = [features[0], *features]
        for group, (before, width), blocks, dilation in zip(
            groups, pairwise(widths), num_blocks, dilations, strict=True
        ):
            for block in range(blocks):
                inner = _ResidualBlock(layers, width if block else before, width, dilation)
                group.append((f"block_{block + 1}", inner))
        for group in groups[:HALVINGS]:
            group.append(("pool", Pool[Pool.MAX, spatial_dims](kernel_size=2)))
        last, head, factor = features[-1], HEAD_FEATURES * out_channels, 2**HALVINGS
        wide = head * factor**spatial_dims
        groups.append([(name, _PreActivated(layers, last, last)) for name in ("first", "second")])
        groups.append(
            [
                ("pad", SymmetricPad(1)),
                ("conv", layers.conv(last, wide, 3, padding=0)),
                ("norm", layers.normalisation(wide)),
                ("act", get_act_layer(layers.act)),
                ("shuffle", _SubPixelShuffle(spatial_dims, factor)),
            ]
        )
        stages = {f"group_{number}": nn.Sequential(OrderedDict(group)) for number, group in enumerate(groups, start=1)}
        out = [("pad", SymmetricPad(2)), ("conv", layers.conv(head, out_channels, 5, padding=0))]
        stages["output"] = nn.Sequential(OrderedDict(out))
        super().__init__(OrderedDict(stages))
        self.stages = tuple(stages)
        self.apply(initialiser(initialise))

    def check_image(self, image: Tensor) -> None:
        """Raise a ``ValueError`` for an image ``(B, in_channels, *spatial)`` that would not come back at its size."""
        check_divisible(image.shape[2:], HALVINGS, "the size of image")

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *spatial)`` of an image ``(B, in_channels, *spatial)``."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self.check_image(image)
        for stage in self:
            image = stage(image)
        return image


def _check_settings(
    spatial_dims: int, features: Sequence[int], num_blocks: Sequence[int], dilations: Sequence[int]
) -> None:
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
    if len(features) < HALVINGS or any(after < before for before, after in pairwise(features)):
        raise ValueError(f"features must list {HALVINGS} or more widths that never shrink, got {tuple(features)}.")
    for name, values in (("num_blocks", num_blocks), ("dilations", dilations)):
        if len(values) != len(features) or min(values) < 1:
            raise ValueError(
                f"{name} must list one number of 1 or more for each of the {len(features)} features, "
                f"got {tuple(values)}."
            )
