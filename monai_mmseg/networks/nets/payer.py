# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Localise, then segment: networks in two steps after Payer et al., whole heart segmentation."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Pool
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn
from torch.nn import functional as F

from monai_mmseg.networks.layers.channel_norm import LayerSetting

BACKGROUND_LOGIT = 10.0
"""Of the background outside a crop, where the other classes have 0."""
LINEAR = {2: "bilinear", 3: "trilinear"}


class LowResolutionNet(nn.Module):
    """Any network on the image at a lower resolution, its logits on the image's own grid.

    Use it for the first step of :class:`LocalisedNet`: where something is needs less resolution than what shape it has.

    Args:
        spatial_dims: 2 or 3.
        network: gives logits ``(B, K, *spatial)``.
        factor: by how much the image is averaged down, a number or one an axis.

    Raises:
        ValueError: if an argument is out of range, or (in a call) the image is no multiple of ``factor``.

    Examples:
        >>> net = LowResolutionNet(3, nn.Conv3d(1, 5, 1), factor=(2, 2, 1))
        >>> net(torch.zeros(1, 1, 16, 16, 3)).shape
        torch.Size([1, 5, 16, 16, 3])
    """

    def __init__(self, spatial_dims: int, network: nn.Module, factor: int | Sequence[int] = 2) -> None:
        super().__init__()
        self.factor = _factors(spatial_dims, factor)
        self.mode = LINEAR[spatial_dims]
        self.down = Pool[Pool.AVG, spatial_dims](self.factor)
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, K, *spatial)`` of an image ``(B, C, *spatial)``."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            _check_multiple(image, self.factor)
        return F.interpolate(self.network(self.down(image)), size=image.shape[2:], mode=self.mode)


class SpatialConfigurationNet(nn.Module):
    """Local appearance times spatial configuration: what a voxel looks like, and where labels may lie to each other.

    Use it where classes look alike and only their arrangement tells them apart (chambers of the heart). ``appearance``,
    U-Net-like, gives first logits. Their probabilities, averaged down, go through a few large convolutions that see no
    image, only the arrangement of the labels; brought back to the full grid, the result is multiplied, class by class,
    with the first logits.

    Args:
        spatial_dims: 2 or 3.
        appearance: any segmentation network, ``(B, C, *spatial)`` to logits ``(B, K, *spatial)``.
        num_classes: K, background included.
        features: width of the convolutions of the configuration.
        depth: number of its convolutions, the last one (to K channels) included.
        kernel_size: their size, odd.
        factor: by how much labels are averaged down for them, a number or one an axis.
        act: activation between them.

    Raises:
        ValueError: if an argument is out of range.

    Reference:
        Payer et al., "Multi-label whole heart segmentation using CNNs and anatomical label configurations", STACOM
        2017, doi:10.1007/978-3-319-75541-0_20, whose text was not at hand. Taken over: two steps, localisation and
        segmentation; the product of a local appearance and a spatial configuration (the "SpatialConfiguration-Net" of
        their landmarks, arXiv:1908.00748); one network for each modality (Dou et al., arXiv:2001.03111, section IV).
        Chosen here: all sizes and widths, leaky ReLU of 0.1, probabilities as what the configuration sees, and a
        configuration that starts at 1, so that training begins with the appearance alone. No parameter count and no
        training setting of theirs is reproduced.

    Examples:
        >>> from monai_mmseg.networks.nets import AnisotropicUNet
        >>> net = SpatialConfigurationNet(3, AnisotropicUNet(3, 1, 5, features=(4, 8, 16, 32)), 5, features=8)
        >>> net(torch.zeros(1, 1, 16, 16, 8)).shape
        torch.Size([1, 5, 16, 16, 8])
    """

    def __init__(
        self,
        spatial_dims: int,
        appearance: nn.Module,
        num_classes: int,
        *,
        features: int = 64,
        depth: int = 4,
        kernel_size: int = 5,
        factor: int | Sequence[int] = 4,
        act: LayerSetting = ("leakyrelu", {"negative_slope": 0.1}),
    ) -> None:
        super().__init__()
        if depth < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"depth must be at least 1 and kernel_size odd, got {depth} and {kernel_size}.")
        self.down = Pool[Pool.AVG, spatial_dims](_factors(spatial_dims, factor), ceil_mode=True)
        self.mode = LINEAR[spatial_dims]
        self.appearance = appearance
        widths = [num_classes, *[features] * (depth - 1), num_classes]
        layers = [
            Convolution(spatial_dims, i, o, kernel_size=kernel_size, act=act, norm=None, conv_only=number == depth - 1)
            for number, (i, o) in enumerate(pairwise(widths))
        ]
        self.configuration = nn.Sequential(*layers)
        nn.init.normal_(layers[-1].conv.weight, std=1e-3)
        nn.init.ones_(layers[-1].conv.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, K, *spatial)`` of an image ``(B, C, *spatial)``."""
        local = self.appearance(image)
        arrangement = self.configuration(self.down(local.softmax(1)))
        return local * F.interpolate(arrangement, size=local.shape[2:], mode=self.mode)


class LocalisedNet(nn.Module):
    """Two steps as one network: one finds where, another segments a crop around it; background everywhere else.

    Use it where what is segmented is a small part of the image. The first step is trained by itself, in a run of its
    own (its weights: :meth:`load_localiser`), and stays as it is; its copy is part of the weights of this network. The
    middle of the crop is the centre of mass of all that the first step takes for foreground (probability above one
    half), the image's middle where it finds none; crops stay inside the image.

    Args:
        localiser: gives logits ``(B, K, *spatial)`` whose channel 0 is the background, often a
            :class:`LowResolutionNet`. It is copied.
        network: segments the crop ``(B, C, *crop_size)``.
        crop_size: voxels along each axis.

    Raises:
        ValueError: (in a call) if the image is smaller than the crop.

    Reference:
        As :class:`SpatialConfigurationNet`. Differs from the paper: theirs regresses a heatmap of the centre; here it
        is the centre of a coarse segmentation, which is an ordinary training.

    Examples:
        >>> net = LocalisedNet(nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1), crop_size=(4, 4))
        >>> logits = net(torch.zeros(1, 1, 8, 8))
        >>> logits.shape, int((logits[0, 0] == 10).sum())
        (torch.Size([1, 2, 8, 8]), 48)
    """

    def __init__(self, localiser: nn.Module, network: nn.Module, crop_size: Sequence[int]) -> None:
        super().__init__()
        self.crop_size = [int(size) for size in crop_size]
        self.background = BACKGROUND_LOGIT
        self.localiser = copy.deepcopy(localiser).requires_grad_(False)
        self.network = network
        self.train(self.training)

    def train(self, mode: bool = True) -> LocalisedNet:
        """Set the mode; the first step stays in evaluation mode, so that its running statistics do not move."""
        super().train(mode)
        self.localiser.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, K, *spatial)`` of an image ``(B, C, *spatial)``; outside the crop those of the background."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            _check_not_smaller(image, self.crop_size)
        starts = self.starts(image)
        crop = image
        for axis, size in enumerate(self.crop_size):
            crop = crop.gather(axis + 2, self._places(starts[:, axis], axis, size, list(crop.shape)))
        logits = self.network(crop)
        # axis by axis back into the image's size, as the crop was made
        for axis, size in enumerate(self.crop_size):
            shape = list(logits.shape)
            shape[axis + 2] = image.shape[axis + 2]
            around = torch.zeros(shape, dtype=logits.dtype, device=logits.device)
            around[:, 0] = self.background
            logits = around.scatter(axis + 2, self._places(starts[:, axis], axis, size, list(logits.shape)), logits)
        return logits

    def starts(self, image: Tensor) -> Tensor:
        """First voxel of the crop of each image ``(B, C, *spatial)`` along each axis, int64 ``(B, axes)``."""
        foreground = 1 - self.localiser(image.detach()).float().softmax(1)[:, 0]
        mass = torch.where(foreground > 0.5, foreground, torch.zeros_like(foreground))
        found = []
        for axis, size in enumerate(self.crop_size):
            length = image.shape[axis + 2]
            along = mass.movedim(axis + 1, 1).flatten(2).sum(2)
            places = torch.arange(length, device=image.device, dtype=along.dtype)
            total = along.sum(1)
            middle = torch.full_like(total, (length - 1) / 2)
            centre = torch.where(total > 0, (along * places).sum(1) / total.clamp(min=0.5), middle)
            found.append((centre - (size - 1) / 2).round().clamp(0, length - size).long())
        return torch.stack(found, 1)

    def _places(self, start: Tensor, axis: int, size: int, shape: list[int]) -> Tensor:
        """Indices along one axis for ``gather`` and ``scatter`` of a tensor of this shape, ``size`` of them."""
        places = start[:, None] + torch.arange(size, device=start.device)
        view = [1] * len(shape)
        view[0], view[axis + 2] = shape[0], size
        full = list(shape)
        full[axis + 2] = size
        return places.reshape(view).expand(full)

    def load_localiser(self, path: str | os.PathLike[str]) -> None:
        """Take the first step's weights from a file.

        Args:
            path: weights of a network that holds such a localiser: of the run that trained it, or of this class.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it holds other weights.
        """
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"the localiser's weights {file.as_posix()} are not there.")
        state: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        own = self.localiser.state_dict()
        first = next(iter(own))
        for prefix in (key.removesuffix(first) for key in state if key.endswith(first)):
            found = {key: state.get(prefix + key) for key in own}
            if all(value is not None and value.shape == own[key].shape for key, value in found.items()):
                self.localiser.load_state_dict(found)
                return
        raise ValueError(f"{file.as_posix()} must hold weights of the localiser that is configured, of its sizes.")


def _factors(spatial_dims: int, factor: int | Sequence[int]) -> tuple[int, ...]:
    if spatial_dims not in LINEAR:
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
    factors = tuple(int(one) for one in ensure_tuple_rep(factor, spatial_dims))
    if min(factors) < 1:
        raise ValueError(f"factor must be at least 1, got {factor}.")
    return factors


def _check_multiple(image: Tensor, factors: Sequence[int]) -> None:
    if any(size % factor for size, factor in zip(image.shape[2:], factors, strict=True)):
        raise ValueError(f"the size of image must be a multiple of factor {factors}, got {tuple(image.shape[2:])}.")


def _check_not_smaller(image: Tensor, crop_size: Sequence[int]) -> None:
    if any(size < crop for size, crop in zip(image.shape[2:], crop_size, strict=True)):
        raise ValueError(f"the image must not be smaller than crop_size {crop_size}, got {tuple(image.shape[2:])}.")
