# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A U-Net that sees the contents of images in the place of the images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_mmseg.networks.nets.dafnet.anatomy_unet import AnatomyUNet
from monai_mmseg.networks.nets.munit.encoders import MUNITContentEncoder

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class ContentUNet(nn.Module):
    """Segmentation of the content maps that MUNIT's encoders, one a modality, find in images: DADR on features.

    When to use: behind :class:`~monai_mmseg.networks.nets.SelectStream`, as the second stage of DADR in the place of a
    U-Net on decoded contents. The encoders come from a trained :class:`MUNIT` and are frozen; their maps are brought to
    the size of the image. 146,880 weights more than :class:`~monai_mmseg.networks.nets.AnatomyUNet` at the defaults
    (34,673,029 at five classes), beside those of the encoders (5,379,584 each).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of an image.
        out_channels: classes, background included.
        modalities: names; their order is that of the streams.
        features: width of each level of the U-Net.
        content_features: channels of an encoder's first convolution.
        num_downsamples: how often a content is halved.
        num_blocks: residual blocks of an encoder.

    Reference:
        Yang et al., "Unsupervised domain adaptation via disentangled representations", MICCAI 2019, arXiv:1907.13590.
        The paper does not say whether its second stage sees images or maps.

    Examples:
        >>> net = ContentUNet(2, 1, 3, modalities=["cine", "lge"], features=(4, 8), content_features=2)
        >>> net(torch.zeros(1, 1, 30, 32), 1).shape
        torch.Size([1, 3, 30, 32])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        modalities: Sequence[str],
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        content_features: int = 64,
        num_downsamples: int = 2,
        num_blocks: int = 4,
    ) -> None:
        super().__init__()
        self.modalities, self.mode = list(modalities), _LINEAR[spatial_dims]
        sizes = (content_features, num_downsamples, num_blocks)
        encoders = [MUNITContentEncoder(spatial_dims, in_channels, *sizes) for _ in self.modalities]
        self.encoders = nn.ModuleList(encoders).requires_grad_(False)
        self.unet = AnatomyUNet(spatial_dims, encoders[0].out_channels, out_channels, features=features)

    def load_encoder(self, path: str | os.PathLike[str], modalities: Sequence[str] | None = None) -> None:
        """Take the encoders' weights from a file.

        Args:
            path: weights of a :class:`MUNIT`, or of a network that holds one of this class.
            modalities: of that MUNIT, in its order; ``None``: as here.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it holds other weights, or other modalities.
        """
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"the encoders' weights {file.as_posix()} are not there.")
        names = self.modalities if modalities is None else list(modalities)
        if set(names) != set(self.modalities):
            raise ValueError(f"{file.as_posix()} must hold encoders of {self.modalities}, got those of {names}.")
        state: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        own = {key.rpartition("encoders.")[2]: value for key, value in state.items() if "encoders." in key}
        for number, name in enumerate(self.modalities):
            start = f"generators.{names.index(name)}.content."
            own |= {f"{number}.{key.removeprefix(start)}": v for key, v in state.items() if key.startswith(start)}
        try:
            self.encoders.load_state_dict(own)
        except RuntimeError as error:
            first = (str(error).splitlines()[1:] or [str(error)])[0].strip()[:200]
            raise ValueError(
                f"{file.as_posix()} must hold encoders of contents as they are configured. {first}"
            ) from error

    def content(self, image: Tensor, stream: int = 0) -> Tensor:
        """Content maps ``(N, C, *spatial)`` of images ``(N, in_channels, *spatial)`` of one modality, at their size."""
        encoder = self.encoders[stream]
        assert isinstance(encoder, MUNITContentEncoder)
        with torch.no_grad():
            found = encoder(image)
            found = F.interpolate(found, scale_factor=float(encoder.step), mode=self.mode)
        for axis, size in enumerate(image.shape[2:], 2):  # what had been added at its end is cut off
            found = found.narrow(axis, 0, size)
        return found

    def forward(self, image: Tensor, stream: int = 0) -> Tensor:
        """Class logits ``(N, out_channels, *spatial)`` of images ``(N, in_channels, *spatial)`` of one modality."""
        logits: Tensor = self.unet(self.content(image, stream))
        return logits
