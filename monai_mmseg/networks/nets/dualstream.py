# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""U-Net with a stream a modality: DualStream, in its four ways of sharing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from monai_mmseg.networks.nets.dafnet.anatomy_unet import NORM_EPS, NORM_MOMENTUM, AnatomyUNet

_SEPARATE: Mapping[str, tuple[str, ...]] = {
    "v1": ("first", "contracting", "bottleneck"),
    "v2": ("first",),
    "v3": ("expanding", "out"),
    "v4": ("first", "contracting", "expanding"),
}


class DualStreamUNet(nn.Module):
    """Segmentation of unpaired images of several modalities, each in its own stream, which meet in shared layers.

    Use it to see what sharing brings without pairs or registration. Every stream is an
    :class:`~monai_mmseg.networks.nets.AnatomyUNet`, of which ``shared`` says what is one and the same for all:

    ======  ====================================  ============================================  ==========
    shared  of each stream                        of all                                        parameters
    ======  ====================================  ============================================  ==========
    ``v1``  contracting path, bottleneck          expanding path, last 1x1 convolution          53,376,133
    ``v2``  first convolution with its norm       all the rest                                  34,526,917
    ``v3``  expanding path, last 1x1 convolution  contracting path, bottleneck                  50,202,314
    ``v4``  contracting and expanding path        bottleneck, last 1x1 convolution              54,890,053
    ======  ====================================  ============================================  ==========

    (two streams, five classes). :class:`~monai_mmseg.networks.nets.SelectStream` feeds it in a bundle.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes, background included.
        num_streams: number of streams.
        shared: ``"v1"`` to ``"v4"``.
        features: width of each level; the size is halved between two levels.
        dropout: probability of dropping a channel in front of the last convolution; the original has none.
        norm_eps: epsilon of the batch normalisation.
        norm_momentum: its momentum in PyTorch's sense.

    Raises:
        ValueError: when an argument is unknown, or the image cannot be halved ``len(features) - 1`` times.

    Reference:
        V. Valindria et al., "Multi-modal learning from unpaired images: application to multi-organ segmentation in CT
        and MRI", WACV 2018, https://doi.org/10.1109/WACV.2018.00066; as a U-Net in Chartsias et al., IEEE TMI 2020
        (arXiv:1911.04417), section IV-C. Differs from the paper: it has residual networks with upscoring.

    Examples:
        >>> net = DualStreamUNet(2, 1, 3, features=(4, 8, 16))
        >>> net(torch.zeros(2, 1, 32, 32), 1).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        num_streams: int = 2,
        shared: Literal["v1", "v2", "v3", "v4"] = "v4",
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        dropout: float = 0.0,
        norm_eps: float = NORM_EPS,
        norm_momentum: float = NORM_MOMENTUM,
    ) -> None:
        super().__init__()
        if shared not in _SEPARATE:
            raise ValueError(f"shared must be one of {list(_SEPARATE)}, got {shared!r}.")
        if num_streams < 1:
            raise ValueError(f"num_streams must be 1 or more, got {num_streams}.")
        self.num_streams = num_streams
        numbers = {"dropout": dropout, "norm_eps": norm_eps, "norm_momentum": norm_momentum}
        streams = [
            AnatomyUNet(spatial_dims, in_channels, out_channels, features=features, **numbers)
            for _ in range(num_streams)
        ]
        for stream in streams[1:]:
            _share(stream, streams[0], _SEPARATE[shared])
        self.streams = nn.ModuleList(streams)

    def forward(self, image: Tensor, stream: int = 0) -> Tensor:
        """Class logits ``(N, out_channels, *spatial)`` of images ``(N, in_channels, *spatial)`` of one stream."""
        if not torch.jit.is_scripting() and not 0 <= stream < self.num_streams:
            raise ValueError(f"stream must be from 0 to {self.num_streams - 1}, got {stream}.")
        logits = image
        # TorchScript cannot index a ModuleList with a number that it does not know: it unrolls this loop
        for index, network in enumerate(self.streams):
            if index == stream:
                logits = network(image)
        return logits


def _share(stream: AnatomyUNet, other: AnatomyUNet, separate: Sequence[str]) -> None:
    """Let a stream have the parts of another, except those that are to be separate."""
    down, up = stream.contracting, stream.expanding
    if "contracting" not in separate:
        own = down.levels[0]
        down.levels = nn.ModuleList(other.contracting.levels)
        if "first" in separate:
            own.second = other.contracting.levels[0].second
            down.levels[0] = own
    if "bottleneck" not in separate:
        up.bottleneck = other.expanding.bottleneck
    if "expanding" not in separate:
        up.levels = other.expanding.levels
    if "out" not in separate:
        up.out = other.expanding.out
