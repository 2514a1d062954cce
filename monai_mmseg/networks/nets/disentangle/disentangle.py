# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Anatomy and appearance of any number of modalities, and any modality reconstructed from those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from monai_mmseg.networks.layers.conditional_conv import ConditionalConvInit, Routing
from monai_mmseg.networks.layers.fusion import pool_anatomies
from monai_mmseg.networks.nets.disentangle.decoder import DisentangleDecoder
from monai_mmseg.networks.nets.disentangle.encoders import (
    AnatomyActivation,
    AppearanceCode,
    DisentangleAnatomyEncoder,
    DisentangleAppearanceEncoder,
    anatomy_softmax,
)


class DisentangledFactors(NamedTuple):
    """What :meth:`DisentangleNet.factors` returns; entries of absent modalities are zero."""

    anatomy: Tensor  # (B, M, C, *spatial), in [0, 1]
    code: Tensor  # (B, M, D)
    log_variance: Tensor | None  # (B, M, D) of a variational network
    present: Tensor  # (B, M), bool


class DisentangleNet(nn.Module):
    """Splits each image into an anatomy (where tissue is) and a code (how its modality shows it), and decodes any pair.

    Any number of modalities, any of them missing. Trained without labels by :class:`~monai_mmseg.objectives.
    DisentangleObjective`; the pooled anatomies (:meth:`fuse`) are a fixed-size input of any further network, whichever
    modalities are there. A call reconstructs one modality, ``target``, from the mean anatomy of those that are there
    and the mean code that this modality had in training.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of an image: a slice and its neighbours.
        modalities: names, in the order of the input.
        target: which one :meth:`forward` reconstructs unless told otherwise.
        spatial_size: of the images, divisible by 2 to the number of levels.
        anatomy_channels: channels of an anatomy.
        code_size: numbers of a code.
        encoders: ``"conditional"``: one pair of encoders with conditional convolutions; ``"separate"``: a plain pair
            for each modality; ``"shared"``: one plain pair for all.
        anatomy_features: channels of the levels of the anatomy encoder.
        appearance_features: channels of the appearance encoder.
        decoder_features: channels of the decoder: in front of the first block, then behind each.
        conditional_decoder: mix kernels of the decoder for each modality, as the released code does; the code then is
            not needed to tell the modality.
        background: value of the images where there is nothing; a pixel that has it in all channels of all modalities
            that are there has no anatomy. ``None``: everything is foreground.
        fifth: the softmax of the released code, see ``anatomy_softmax``.
        activation: of the anatomy encoder, ``"relu"`` or ``"original"``.
        variational: codes have a variance.
        num_experts: of conditional convolutions.
        routing: of conditional convolutions.
        init: of conditional convolutions.
        anatomy_gain: factor of the initial weights of the anatomy encoder's last layer. Anatomies of the default, 1,
            hardly differ between pixels at first, and small networks take long to find out what they are for; 10 is
            sound.

    Raises:
        ValueError: when an argument is unknown or does not fit, or the image has another shape.

    Reference:
        Ouyang et al., "Representation disentanglement for multi-modal brain MR analysis", IPMI 2021, arXiv:2102.11456.
        Differs from the paper: the sigmoid of a conditional convolution is on its routing weights; the layers are
        those of the released code; background has no anatomy; a missing modality is decoded with its mean code.

    Examples:
        >>> net = DisentangleNet(
        ...     2, 1, modalities=("t1", "t2"), target="t2", spatial_size=(64, 32), anatomy_features=(4, 8, 8, 8, 8),
        ...     appearance_features=(4, 8), decoder_features=(8, 8, 8, 8, 4, 4, 2),
        ... ).eval()
        >>> image = torch.rand(1, 2, 64, 32)
        >>> image[:, 1] = float("nan")  # no T2
        >>> net(image).shape, net.fuse(net.factors(image)).shape
        (torch.Size([1, 1, 64, 32]), torch.Size([1, 12, 64, 32]))
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        *,
        modalities: Sequence[str],
        target: str,
        spatial_size: Sequence[int] = (160, 192),
        anatomy_channels: int = 4,
        code_size: int = 16,
        encoders: Literal["conditional", "separate", "shared"] = "conditional",
        anatomy_features: Sequence[int] = (32, 64, 128, 256, 256),
        appearance_features: Sequence[int] = (16, 32, 64, 128, 128),
        decoder_features: Sequence[int] = (128, 128, 128, 128, 64, 32, 16),
        conditional_decoder: bool = False,
        background: float | None = None,
        fifth: bool = False,
        activation: AnatomyActivation = "relu",
        variational: bool = False,
        num_experts: int = 3,
        routing: Routing = "table",
        init: ConditionalConvInit = "plain",
        anatomy_gain: float = 1.0,
    ) -> None:
        super().__init__()
        if not anatomy_gain > 0:
            raise ValueError(f"anatomy_gain must be positive, got {anatomy_gain}.")
        self.modalities = tuple(modalities)
        if isinstance(modalities, str) or not modalities or len(set(modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be one or more different names, got {modalities!r}.")
        if target not in self.modalities:
            close = get_close_matches(target, self.modalities, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"target must be one of modalities {list(self.modalities)}, got {target!r}.{hint}")
        if encoders not in ("conditional", "separate", "shared"):
            raise ValueError(f"encoders must be 'conditional', 'separate' or 'shared', got {encoders!r}.")
        count = self.num_modalities = len(self.modalities)
        self.target, self.encoders, self.background, self.fifth = target, str(encoders), background, bool(fifth)
        self.spatial_dims, self.in_channels, self.spatial_size = spatial_dims, in_channels, tuple(spatial_size)
        self.anatomy_channels, self.code_size = anatomy_channels, code_size
        own: dict[str, Any] = {"num_experts": num_experts, "routing": routing, "init": init}
        mixed = {"conditional": encoders == "conditional", **own}
        pairs = count if encoders == "separate" else 1
        self.anatomy_encoders = nn.ModuleList(
            DisentangleAnatomyEncoder(
                spatial_dims,
                in_channels,
                anatomy_channels,
                count,
                features=anatomy_features,
                activation=activation,
                **mixed,
            )
            for _ in range(pairs)
        )
        self.appearance_encoders = nn.ModuleList(
            DisentangleAppearanceEncoder(
                spatial_dims,
                in_channels,
                spatial_size,
                count,
                features=appearance_features,
                code_size=code_size,
                variational=variational,
                **mixed,
            )
            for _ in range(pairs)
        )
        self.decoder = DisentangleDecoder(
            spatial_dims,
            in_channels,
            spatial_size,
            anatomy_channels=anatomy_channels,
            code_size=code_size,
            features=decoder_features,
            num_modalities=count,
            conditional=conditional_decoder,
            **own,
        )
        if anatomy_gain != 1:
            with torch.no_grad():
                for encoder in self.anatomy_encoders:
                    cast(Tensor, cast(DisentangleAnatomyEncoder, encoder).out.conv.weight).mul_(anatomy_gain)
        self.register_buffer("mean_code", torch.zeros(count, code_size))
        self.mean_code: Tensor

    def encode(
        self, image: Tensor, modality: Sequence[int], foreground: Tensor | None = None
    ) -> tuple[Tensor, AppearanceCode]:
        """Anatomy ``(N, anatomy_channels, *spatial_size)`` and code ``(N, code_size)`` of images of any modalities.

        Args:
            image: shape ``(N, in_channels, *spatial_size)``.
            modality: index of each row; sorted rows are the fastest.
            foreground: bool ``(N, 1, *spatial_size)``, or ``None``.
        """
        logits = self._each(self.anatomy_encoders, image, modality)
        return anatomy_softmax(logits, foreground, fifth=self.fifth), self.appearance(image, modality)

    def appearance(self, image: Tensor, modality: Sequence[int]) -> AppearanceCode:
        """Code of images of any modalities, row by row; arguments as in :meth:`encode`."""
        if self.encoders != "separate":
            return cast(AppearanceCode, self.appearance_encoders[0](image, list(modality)))
        code = self._each(self.appearance_encoders, image, modality, 0)
        first = cast(DisentangleAppearanceEncoder, self.appearance_encoders[0])
        return AppearanceCode(
            code, None if first.log_variance is None else self._each(self.appearance_encoders, image, modality, 1)
        )

    def _each(self, encoders: nn.ModuleList, image: Tensor, modality: Sequence[int], part: int | None = None) -> Tensor:
        """Rows through the encoder of their modality."""
        index = list(modality)
        if len(encoders) == 1:
            return cast(Tensor, encoders[0](image, index))
        order = sorted(range(len(index)), key=index.__getitem__)
        found = []
        for m in sorted(set(index)):
            rows = [n for n in order if index[n] == m]
            output = encoders[m](image[rows], 0)
            found.append(output if part is None else output[part])
        return torch.cat(found)[torch.tensor(order).argsort().to(image.device, non_blocking=True)]

    def foreground(self, images: Tensor, present: Tensor) -> Tensor | None:
        """Where there is anything in any modality that is there; ``None`` without a background value.

        Args:
            images: shape ``(B, M, in_channels, *spatial_size)``.
            present: bool ``(B, M)``.

        Returns:
            Bool ``(B, 1, *spatial_size)``.
        """
        if self.background is None:
            return None
        mask = present.to(images.device).reshape([*present.shape, *[1] * (images.ndim - 2)])
        return ((images != self.background) & mask).flatten(1, 2).any(1, keepdim=True)

    def factors(self, image: Tensor, present: Tensor | None = None) -> DisentangledFactors:
        """Anatomy and code of every modality of every sample; arguments as in :meth:`forward`.

        Use it for figures and further networks, in eval mode.
        """
        images, is_present = self.split(image, present)
        rows, modality = images.flatten(0, 1), list(range(self.num_modalities)) * images.shape[0]
        mask = self.foreground(images, is_present)
        if mask is not None:
            mask = mask.repeat_interleave(self.num_modalities, 0)
        anatomy, code = self.encode(rows, modality, mask)
        shape = list(is_present.shape)
        anatomy = torch.where(is_present.reshape([*shape, *[1] * (images.ndim - 2)]), anatomy.unflatten(0, shape), 0.0)
        codes = [
            None if part is None else torch.where(is_present[..., None], part.unflatten(0, shape), 0.0) for part in code
        ]
        return DisentangledFactors(anatomy, cast(Tensor, codes[0]), codes[1], is_present)

    def fuse(self, factors: DisentangledFactors, pools: Sequence[str] = ("max", "mean", "min")) -> Tensor:
        """Anatomies of what is there as a fixed number of channels.

        Args:
            factors: of :meth:`factors`.
            pools: see :func:`~monai_mmseg.networks.layers.pool_anatomies`.

        Returns:
            Shape ``(B, len(pools) * anatomy_channels, *spatial_size)``.
        """
        return pool_anatomies(factors.anatomy, factors.present, pools)

    def decode(self, anatomy: Tensor, code: Tensor, modality: int | Sequence[int] = 0) -> Tensor:
        """Images ``(N, in_channels, *spatial_size)`` of anatomies with codes, row by row.

        Args:
            anatomy: shape ``(N, anatomy_channels, *spatial_size)``.
            code: shape ``(N, code_size)``.
            modality: index of the modality of the result, for a conditional decoder.
        """
        recon: Tensor = self.decoder(anatomy, code, modality)
        return recon

    def forward(self, image: Tensor, present: Tensor | None = None, target: str | None = None) -> Tensor:
        """A modality, reconstructed from what is there: ``(B, in_channels, *spatial_size)``.

        Args:
            image: shape ``(B, M * in_channels, *spatial_size)``: all channels of the first modality, then those of the
                second. A modality with a NaN is absent.
            present: bool, shape ``(B, M)``; ``None``: the NaN alone decide.
            target: which one to reconstruct; ``None``: :attr:`target`.

        Raises:
            ValueError: if the target is no modality, or the image has another shape.
        """
        name = self.target if target is None else target
        if name not in self.modalities:
            raise ValueError(f"target must be one of modalities {list(self.modalities)}, got {name!r}.")
        index = self.modalities.index(name)
        factors = self.factors(image, present)
        code = self.mean_code[index].to(factors.anatomy.dtype).expand(image.shape[0], -1)
        return self.decode(self.fuse(factors, ["mean"]), code, index)

    def split(self, image: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images ``(B, M, in_channels, *spatial_size)``, absent ones zero, and which are there ``(B, M)``.

        Arguments and errors are those of :meth:`forward`.
        """
        channels = self.num_modalities * self.in_channels
        if tuple(image.shape[1:]) != (channels, *self.spatial_size):
            raise ValueError(
                f"image must have the shape (B, {channels}, {', '.join(map(str, self.spatial_size))}) - "
                f"{self.num_modalities} modalities {list(self.modalities)} x {self.in_channels} channel(s) - got "
                f"{tuple(image.shape)}."
            )
        if present is not None and tuple(present.shape) != (image.shape[0], self.num_modalities):
            raise ValueError(
                f"present must have the shape ({image.shape[0]}, {self.num_modalities}), got {tuple(present.shape)}."
            )
        images = image.unflatten(1, (self.num_modalities, self.in_channels))
        is_present = ~images.isnan().flatten(2).any(2)
        if present is not None:
            is_present = is_present & present.to(image.device).bool()
        # before the first operation: NaN * 0 would be NaN
        return torch.where(is_present.reshape([*is_present.shape, *[1] * (images.ndim - 2)]), images, 0.0), is_present
