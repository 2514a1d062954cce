# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Encoders that turn images of several modalities into one kind of binary anatomy map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import balance_channels_
from monai_mmseg.networks.layers import straight_through_argmax, straight_through_round
from monai_mmseg.networks.layers.spatial_check import check_divisible
from monai_mmseg.networks.nets.dafnet.anatomy_unet import (
    NORM_EPS,
    NORM_MOMENTUM,
    ContractingPath,
    ExpandingPath,
)


def full_precision(values: Tensor) -> Tensor:
    """Half and bfloat16 values as float32, others as they are; for use in front of a softmax or an exponential.

    Examples:
        >>> full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    if values.dtype == torch.float16 or values.dtype == torch.bfloat16:
        return values.float()
    return values


class AnatomyEncoders(nn.Module):
    """One U-Net a modality, all with the same expanding path, and a binary anatomy map at the end.

    Use it where images of different modalities shall be described in the same anatomical channels: the contracting
    path belongs to the modality, bottleneck, expanding path and the last convolution are shared (the same storage).
    39,214,408 trainable weights for two modalities at the defaults, 34,526,344 for one.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of one modality's image.
        anatomy_channels: channels C of the anatomy map.
        num_modalities: number of modalities M.
        features: width of each level of the U-Net.
        binarise: ``"round"`` rounds the softmax (a pixel without a channel above one half becomes all zero, as in the
            original code); ``"argmax"`` is exactly one-hot (as in the paper's text). Both pass the gradient unchanged.
            ``"none"`` keeps the softmax: the map is not binary, and segmentor and decoder see how sure it is.
        modality_norm: keep the normalisation layers of the shared part per modality (own scale, shift and statistics);
            the convolutions stay shared. Cures the mismatch of running statistics when modalities look different.
        initial_gain: start with kernels of the last convolution that have no mean and are this many times as large, so
            that all channels are in use from the start (``balance_channels_``). ``None``: as
            the original code, where some channels may stay empty for good.
        norm_eps: epsilon of the batch normalisation (Keras' 1e-3).
        norm_momentum: its momentum in PyTorch's sense (Keras' 0.99 is 0.01 here).

    Raises:
        ValueError: when an argument is unknown, or the image cannot be halved ``len(features) - 1`` times.

    Reference:
        Chartsias et al., IEEE TMI 2020 (arXiv:1911.04417), section III-A.
        Differs from the paper: the paper says that the map is one-hot; rounding, the default, allows empty pixels.

    Examples:
        >>> encoders = AnatomyEncoders(2, 1, 8, num_modalities=2, features=(4, 8, 16)).eval()
        >>> anatomy = encoders(torch.zeros(1, 1, 32, 32), 1)
        >>> anatomy.shape, bool(((anatomy == 0) | (anatomy == 1)).all())
        (torch.Size([1, 8, 32, 32]), True)
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        anatomy_channels: int,
        *,
        num_modalities: int = 2,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        binarise: Literal["round", "argmax", "none"] = "round",
        modality_norm: bool = False,
        initial_gain: float | None = None,
        norm_eps: float = NORM_EPS,
        norm_momentum: float = NORM_MOMENTUM,
    ) -> None:
        super().__init__()
        if binarise not in ("round", "argmax", "none"):
            raise ValueError(f"binarise must be 'round', 'argmax' or 'none', got {binarise!r}.")
        if num_modalities < 1:
            raise ValueError(f"num_modalities must be 1 or more, got {num_modalities}.")
        self.num_modalities = num_modalities
        self.halvings = len(features) - 1
        self.binarise = binarise
        self.contracting = nn.ModuleList(
            ContractingPath(spatial_dims, in_channels, features[:-1], norm_eps=norm_eps, norm_momentum=norm_momentum)
            for _ in range(num_modalities)
        )
        self.expanding = ExpandingPath(
            spatial_dims,
            features,
            anatomy_channels,
            num_norms=num_modalities if modality_norm else 1,
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
        )
        if initial_gain is not None:
            balance_channels_(self.expanding.out.conv.weight, initial_gain)

    def probabilities(self, image: Tensor, modality: int) -> Tensor:
        """The anatomy before it is made binary, a softmax; arguments and shape as in :meth:`forward`."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            if not 0 <= modality < self.num_modalities:
                raise ValueError(f"modality must be from 0 to {self.num_modalities - 1}, got {modality}.")
            check_divisible(image.shape[2:], self.halvings, "the size of image")
        levels: list[Tensor] = []
        # TorchScript cannot index a ModuleList with a number that it does not know: it unrolls this loop.
        for index, path in enumerate(self.contracting):
            if index == modality:
                levels = path(image)
        return torch.softmax(full_precision(self.expanding(levels, modality)), dim=1)

    def forward(self, image: Tensor, modality: int) -> Tensor:
        """Anatomy, at least float32, shape ``(N, anatomy_channels, *spatial)``; the gradient is the softmax's.

        Args:
            image: images of one modality, shape ``(N, in_channels, *spatial)``.
            modality: index of that modality.
        """
        return self._binary(self.probabilities(image, modality))

    def stacked(self, images: Sequence[Tensor]) -> Tensor:
        """Anatomies of all modalities, one after the other: :meth:`forward` of each, with the shared part once.

        Args:
            images: images of each modality, in order, shape ``(N_m, in_channels, *spatial)``; ``N_m`` may be 0.

        Raises:
            ValueError: when there are not as many as modalities.
        """
        if len(images) != self.num_modalities:
            raise ValueError(
                f"images must hold one tensor for each of {self.num_modalities} modalities, got {len(images)}."
            )
        check_divisible(images[0].shape[2:], self.halvings, "the size of image")
        if not any(len(image) for image in images):
            return images[0].new_zeros(0, self.expanding.out.out_channels, *images[0].shape[2:])
        paths = [path(image) for path, image in zip(self.contracting, images, strict=True) if len(image)]
        levels = [torch.cat(level) for level in zip(*paths, strict=True)]
        hidden = self.expanding(levels, rows=[len(image) for image in images])
        probabilities = torch.softmax(full_precision(hidden), dim=1)
        if hidden.stride(1) == 1 and hidden.ndim == 4:
            # the softmax lays the channels apart, and what follows are convolutions again
            probabilities = probabilities.contiguous(memory_format=torch.channels_last)
        return self._binary(probabilities)

    def _binary(self, probabilities: Tensor) -> Tensor:
        if self.binarise == "argmax":
            return straight_through_argmax(probabilities, dim=1)
        if self.binarise == "round":
            return straight_through_round(probabilities)
        return probabilities

    def extra_repr(self) -> str:
        """Say what the sub-modules do not show."""
        return f"num_modalities={self.num_modalities}, binarise={self.binarise}"
