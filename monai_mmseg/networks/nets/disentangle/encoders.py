# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The two encoders of the representation disentanglement: where tissue is, and how a modality shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional as F

from monai_mmseg.networks.layers.conditional_conv import ConditionalConv, ConditionalConvInit, Routing
from monai_mmseg.networks.layers.spatial_check import check_divisible

AnatomyActivation = Literal["relu", "original"]
INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}
SLOPE = 0.2


class ModalityConv(nn.Module):
    """A convolution that may depend on the modality: conditional, or one plain kernel for all.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        num_modalities: M.
        conditional: mix a kernel for each modality; else the modality is ignored.
        kernel_size: edge of the kernels.
        stride: of the convolution.
        padding: zeros on each side.
        num_experts: of the conditional convolution, as ``routing`` and ``init``.
        routing: see :class:`~monai_mmseg.networks.layers.ConditionalConv`.
        init: see there.

    Examples:
        >>> ModalityConv(2, 3, 8, 4, conditional=False, padding=1)(torch.rand(2, 3, 8, 8), [0, 3]).shape
        torch.Size([2, 8, 8, 8])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        num_modalities: int,
        *,
        conditional: bool,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 0,
        num_experts: int = 3,
        routing: Routing = "table",
        init: ConditionalConvInit = "plain",
    ) -> None:
        super().__init__()
        self.conditional = bool(conditional)
        size: dict[str, Any] = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        if conditional:
            more: dict[str, Any] = {"num_experts": num_experts, "routing": routing, "init": init}
            self.conv: nn.Module = ConditionalConv(
                spatial_dims, in_channels, out_channels, num_modalities, **size, **more
            )
        else:
            self.conv = Conv[Conv.CONV, spatial_dims](in_channels, out_channels, **size)

    def forward(self, x: Tensor, modality: int | Sequence[int] | Tensor) -> Tensor:
        """Convolve; see :class:`~monai_mmseg.networks.layers.ConditionalConv`."""
        found: Tensor = self.conv(x, modality) if self.conditional else self.conv(x)
        return found


class _ConvNorm(nn.Module):
    """Convolution and batch normalisation."""

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, num_modalities: int, **conv: Any
    ) -> None:
        super().__init__()
        self.conv = ModalityConv(spatial_dims, in_channels, out_channels, num_modalities, **conv)
        self.norm = Norm[Norm.BATCH, spatial_dims](out_channels)

    def forward(self, x: Tensor, modality: int | Sequence[int] | Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(x, modality))
        return normed


def anatomy_softmax(logits: Tensor, foreground: Tensor | None = None, *, fifth: bool = False) -> Tensor:
    """Anatomy channels from logits: a softmax over the channels, nothing outside of the foreground.

    Args:
        logits: shape ``(N, C, *spatial)``.
        foreground: where there is anything, bool ``(N, 1, *spatial)`` or ``(N, *spatial)``. ``None``: everywhere.
        fifth: as the original code: the background is a further channel of the softmax that is dropped afterwards. Its
            logit is 0 in the foreground, so that the channels add up to less than one there.

    Returns:
        Shape ``(N, C, *spatial)``.

    Raises:
        ValueError: when the shapes do not fit.

    Examples:
        >>> anatomy_softmax(torch.zeros(1, 4, 2, 2), torch.tensor([[[True, True], [False, True]]]))[0, 0]
        tensor([[0.2500, 0.2500],
                [0.0000, 0.2500]])
    """
    mask = None
    if foreground is not None:
        mask = foreground if foreground.ndim == logits.ndim else foreground[:, None]
        if mask.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise ValueError(
                f"foreground must have shape {(logits.shape[0], 1, *logits.shape[2:])}, got {tuple(foreground.shape)}."
            )
        mask = mask.bool()
    if fifth:
        background = torch.zeros_like(logits[:, :1]) if mask is None else 100.0 * (~mask).to(logits.dtype)
        return torch.cat([background, logits], 1).softmax(1)[:, 1:]
    maps = logits.softmax(1)
    return maps if mask is None else maps * mask


class DisentangleAnatomyEncoder(nn.Module):
    """U-Net from an image to anatomy logits of the same size; convolutions may depend on the modality.

    Five levels: 4 x 4 convolutions of stride 2 on the way down, linear upsampling and 3 x 3 convolutions on the way up,
    skip connections in front. Batch normalisation everywhere but in the first and last convolution.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of an image (adjacent slices).
        out_channels: anatomy channels.
        num_modalities: M.
        features: channels of the levels, from fine to coarse.
        conditional: mix kernels for each modality; else one encoder that ignores the modality.
        activation: ``"relu"``: as the paper says (leaky on the way down); ``"original"``: as the released code does by
            accident, one leaky ReLU behind the first convolution and nothing else.
        num_experts: of the conditional convolutions.
        routing: of the conditional convolutions.
        init: of the conditional convolutions.

    Raises:
        ValueError: if an argument is not possible.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: E_A.

    Examples:
        >>> encoder = DisentangleAnatomyEncoder(2, 3, 4, num_modalities=4, features=(4, 8, 8, 8, 8))
        >>> encoder(torch.rand(2, 3, 64, 32), [0, 2]).shape
        torch.Size([2, 4, 64, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int = 4,
        num_modalities: int = 1,
        *,
        features: Sequence[int] = (32, 64, 128, 256, 256),
        conditional: bool = True,
        activation: AnatomyActivation = "relu",
        num_experts: int = 3,
        routing: Routing = "table",
        init: ConditionalConvInit = "plain",
    ) -> None:
        super().__init__()
        if activation not in get_args(AnatomyActivation):
            raise ValueError(f"activation must be one of {get_args(AnatomyActivation)}, got {activation!r}.")
        if len(features) < 2:
            raise ValueError(f"features must have at least two levels, got {tuple(features)}.")
        self.spatial_dims, self.activation, self.levels = spatial_dims, str(activation), len(features)
        own: dict[str, Any] = {"conditional": conditional, "num_experts": num_experts, "routing": routing, "init": init}
        down = {**own, "kernel_size": 4, "stride": 2, "padding": 1}
        up = {**own, "kernel_size": 3, "padding": 1}
        self.down_1 = ModalityConv(spatial_dims, in_channels, features[0], num_modalities, **down)
        self.down = nn.ModuleList(_ConvNorm(spatial_dims, a, b, num_modalities, **down) for a, b in pairwise(features))
        # each level on the way up has the channels of the skip beside it; behind it both are joined
        widths = list(reversed(features[:-1]))
        sources = [features[-1], *[2 * width for width in widths[:-1]]]
        self.up = nn.ModuleList(
            _ConvNorm(spatial_dims, a, b, num_modalities, **up) for a, b in zip(sources, widths, strict=True)
        )
        self.out = ModalityConv(spatial_dims, 2 * features[0], out_channels, num_modalities, **up)

    def forward(self, image: Tensor, modality: int | Sequence[int] | Tensor) -> Tensor:
        """Anatomy logits ``(N, out_channels, *spatial)``, of which :func:`anatomy_softmax` makes an anatomy.

        Args:
            image: shape ``(N, in_channels, *spatial)``, sizes divisible by 2 to the number of levels.
            modality: index of the modality of all rows, or of each.

        Raises:
            ValueError: for another size, or an unknown modality.
        """
        check_divisible(image.shape[2:], self.levels, "image")
        paper = self.activation == "relu"
        hidden = F.leaky_relu(self.down_1(image, modality), SLOPE)
        skips = [hidden]
        for number, level in enumerate(self.down, start=2):
            hidden = level(hidden, modality)
            if number < self.levels:
                hidden = F.leaky_relu(hidden, SLOPE) if paper else hidden
                skips.append(hidden)
        for level in self.up:
            hidden = torch.cat([skips.pop(), level(self._enlarge(hidden), modality)], 1)
        logits: Tensor = self.out(self._enlarge(hidden), modality)
        return logits

    def _enlarge(self, hidden: Tensor) -> Tensor:
        if self.activation == "relu":
            hidden = hidden.relu()
        return F.interpolate(hidden, scale_factor=2, mode=INTERPOLATION[self.spatial_dims], align_corners=True)


class AppearanceCode(NamedTuple):
    """What a modality looks like in an image."""

    code: Tensor  # (N, D)
    log_variance: Tensor | None  # (N, D) of a variational encoder


class DisentangleAppearanceEncoder(nn.Module):
    """Convolutions from an image to the few numbers that say how its modality shows tissue.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of an image.
        spatial_size: of the images; a dense layer fixes it.
        num_modalities: M.
        features: channels of the convolutions of stride 2.
        hidden: neurons between them and the code.
        code_size: numbers of the code.
        conditional: mix kernels for each modality.
        variational: a second head for the log-variance.
        num_experts: of the conditional convolutions.
        routing: of the conditional convolutions.
        init: of the conditional convolutions.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: E_M.

    Examples:
        >>> encoder = DisentangleAppearanceEncoder(2, 3, (64, 32), num_modalities=4, features=(4, 8))
        >>> encoder(torch.rand(2, 3, 64, 32), 1).code.shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        spatial_size: Sequence[int],
        num_modalities: int = 1,
        *,
        features: Sequence[int] = (16, 32, 64, 128, 128),
        hidden: int = 32,
        code_size: int = 16,
        conditional: bool = True,
        variational: bool = False,
        num_experts: int = 3,
        routing: Routing = "table",
        init: ConditionalConvInit = "plain",
    ) -> None:
        super().__init__()
        self.spatial_size = tuple(spatial_size)
        if len(self.spatial_size) != spatial_dims:
            raise ValueError(f"spatial_size must have {spatial_dims} numbers, got {self.spatial_size}.")
        own: dict[str, Any] = {"conditional": conditional, "num_experts": num_experts, "routing": routing, "init": init}
        self.convs = nn.ModuleList(
            ModalityConv(spatial_dims, a, b, num_modalities, stride=2, padding=1, **own)
            for a, b in pairwise([in_channels, *features])
        )
        last = math.prod(-(-size // 2 ** len(features)) for size in self.spatial_size)
        self.dense = nn.Linear(features[-1] * last, hidden)
        self.mean = nn.Linear(hidden, code_size)
        self.log_variance = nn.Linear(hidden, code_size) if variational else None

    def forward(self, image: Tensor, modality: int | Sequence[int] | Tensor) -> AppearanceCode:
        """The code of each image (its mean, for a variational encoder), and the log-variance or ``None``.

        Args:
            image: shape ``(N, in_channels, *spatial_size)``.
            modality: index of the modality of all rows, or of each.

        Raises:
            ValueError: for another size, or an unknown modality.
        """
        if tuple(image.shape[2:]) != self.spatial_size:
            raise ValueError(f"image must have spatial size {self.spatial_size}, got {tuple(image.shape[2:])}.")
        hidden = image
        for conv in self.convs:
            hidden = F.leaky_relu(conv(hidden, modality), SLOPE)
        hidden = F.leaky_relu(self.dense(hidden.flatten(1)), SLOPE)
        return AppearanceCode(self.mean(hidden), None if self.log_variance is None else self.log_variance(hidden))
