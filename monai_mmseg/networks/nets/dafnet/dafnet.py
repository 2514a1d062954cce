# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""DAFNet: disentangle, align and fuse the anatomies of several modalities, then segment."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from monai_mmseg.networks.layers import anatomy_overlap, fuse_anatomies
from monai_mmseg.networks.layers.spatial_check import check_divisible
from monai_mmseg.networks.nets.dafnet.anatomy_encoders import AnatomyEncoders, full_precision
from monai_mmseg.networks.nets.dafnet.balancer import PairBalancer
from monai_mmseg.networks.nets.dafnet.film_decoder import FiLMDecoder
from monai_mmseg.networks.nets.dafnet.modality_encoder import ModalityEncoder, StyleOutput
from monai_mmseg.networks.nets.dafnet.segmentor import AnatomySegmentor
from monai_mmseg.networks.nets.dafnet.spade_decoder import SPADEDecoder
from monai_mmseg.networks.nets.dafnet.spatial_transformer import SpatialTransformer


class DAFNetFactors(NamedTuple):
    """What :meth:`DAFNet.factors` returns, for reports and figures; absent modalities are zero."""

    anatomies: Tensor  # (B, M, C, H, W) binary anatomy of each modality
    style: Tensor  # (B, M, Z) mean of the modality factor
    deformed: Tensor  # (B, M, C, H, W) anatomies moved onto the reference (the reference itself as it is)
    offsets: Tensor  # (B, M, 25, 2) control-point offsets (row, column), 1 = the size of the image; reference: zero
    fused: Tensor  # (B, C, H, W) largest of what is present
    reference: Tensor  # (B,) index of the reference modality
    present: Tensor  # (B, M) what was there


class DAFNet(nn.Module):
    """Segmentation of one modality with the help of others that are neither registered nor always there.

    Use it for 2D slices of two to four modalities of a subject, annotated fully or in one modality alone. Each
    modality's slice becomes a binary anatomy map; a spatial transformer moves the other modalities' maps onto the
    reference; the voxelwise maximum is segmented. A modality encoder and a decoder rebuild the images from anatomy and
    modality factor, which is what trains the network without labels. 43,252,120 weights for two modalities and five
    classes at the defaults.

    The reference is the target where it is present, else the first modality (in the order of ``modalities``) that is.
    A modality is absent where ``present`` says so, or where its candidate 0 holds a NaN. Whatever stands in its place
    has no influence. If all are absent the result is finite and means nothing. :meth:`forward` is for evaluation:
    absent slices pass through the encoders as zeros, which in training mode would enter the batch statistics.

    Args:
        spatial_dims: 2 (the spatial transformer of the method works on slices).
        in_channels: channels of one slice of one modality.
        out_channels: classes K, background (channel 0) included.
        modalities: names, in the order of the input's channels.
        target: the modality that is to be segmented.
        spatial_size: rows and columns; the dense layers fix it. Divisible by ``2**(len(features) - 1)``.
        anatomy_channels: channels C of the anatomy map.
        style_channels: length Z of the modality factor.
        features: width of each level of the anatomy encoders.
        segmentor_features: width of the segmentor.
        decoder: ``"film"`` or ``"spade"``.
        decoder_features: width of the decoder; ``None``: 8 for FiLM, 128 for SPADE.
        binarise: ``"round"``, ``"argmax"`` or ``"none"``, see :class:`~monai_mmseg.networks.nets.AnatomyEncoders`.
        modality_norm: normalisation layers per modality in the shared part of the encoders.
        anatomy_gain: ``initial_gain`` of :class:`~monai_mmseg.networks.nets.AnatomyEncoders`: larger than 1 where some
            anatomy channels would stay empty.
        align: ``False`` leaves the spatial transformer out: anatomies are fused where they lie.
        max_offset: bound of the control-point offsets as a fraction of the image; ``None``: unbounded.
        num_candidates: slices k of every modality in the input; the first is the paired one.
        inference: what :meth:`forward` segments: ``"fused"`` the maximum of the reference's and all moved anatomies,
            ``"single"`` the reference's alone, ``"deformed"`` the maximum of the moved ones (the reference's own where
            there is no other). The last two look at candidate 0 only.
        dropout: probability of dropping a channel in the segmentor.

    Raises:
        ValueError: when an argument is unknown or does not fit, or the image has another shape.

    Reference:
        Chartsias et al., "Disentangle, align and fuse for multimodal and semi-supervised image segmentation",
        IEEE TMI 2020 (arXiv:1911.04417), section III.
        Differs from the paper: any number of modalities; with more than two, the balancer's weights of a candidate are
        averaged over the other present modalities. Weighted candidates (section III-F) are not in the original code.

    Examples:
        >>> net = DAFNet(
        ...     2, 1, 3, modalities=("cine", "lge"), target="lge", spatial_size=(64, 64), features=(4, 8, 16, 32)
        ... ).eval()
        >>> image = torch.rand(1, 2, 64, 64)
        >>> image[:, 0] = float("nan")  # no cine
        >>> net(image).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        modalities: Sequence[str],
        target: str,
        spatial_size: Sequence[int] = (192, 192),
        anatomy_channels: int = 8,
        style_channels: int = 8,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        segmentor_features: int = 64,
        decoder: Literal["film", "spade"] = "film",
        decoder_features: int | None = None,
        binarise: Literal["round", "argmax", "none"] = "round",
        modality_norm: bool = False,
        anatomy_gain: float | None = None,
        align: bool = True,
        max_offset: float | None = None,
        num_candidates: int = 1,
        inference: Literal["fused", "single", "deformed"] = "fused",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        modalities = tuple(modalities)
        _check_settings(spatial_dims, modalities, target, decoder, inference, num_candidates)
        if len(spatial_size) != 2:
            raise ValueError(f"spatial_size must be two numbers (rows, columns), got {tuple(spatial_size)}.")
        check_divisible(spatial_size, len(features) - 1, "spatial_size")
        self.modalities, self.target = modalities, target
        self.num_modalities, self.num_candidates = len(modalities), num_candidates
        self.out_channels, self.style_channels = out_channels, style_channels
        self.in_channels, self.num_points = in_channels, 25
        self.spatial_size = tuple(spatial_size)
        self.inference = inference
        self.anatomy_encoders = AnatomyEncoders(
            spatial_dims,
            in_channels,
            anatomy_channels,
            num_modalities=len(modalities),
            features=features,
            binarise=binarise,
            modality_norm=modality_norm,
            initial_gain=anatomy_gain,
        )
        self.modality_encoder = ModalityEncoder(anatomy_channels, in_channels, spatial_size, style_channels)
        self.segmentor = AnatomySegmentor(anatomy_channels, out_channels, segmentor_features, dropout=dropout)
        self.transformer = SpatialTransformer(anatomy_channels, spatial_size, max_offset=max_offset) if align else None
        self.decoder: nn.Module
        if decoder == "film":
            width = 8 if decoder_features is None else decoder_features
            self.decoder = FiLMDecoder(anatomy_channels, style_channels, in_channels, width)
        else:
            width = 128 if decoder_features is None else decoder_features
            self.decoder = SPADEDecoder(anatomy_channels, style_channels, spatial_size, in_channels, width)
        self.balancer = PairBalancer(num_candidates) if num_candidates > 1 else None
        # The target comes first, then the order of the list; where nothing is present it is the target again.
        is_target = torch.tensor([name == target for name in modalities])
        rank = torch.arange(len(modalities), 0, -1, dtype=torch.float32)
        self.register_buffer("_priority", torch.where(is_target, len(modalities) + 1.0, rank), persistent=False)
        self.register_buffer("_fallback", 0.5 * is_target.float(), persistent=False)
        self._priority: Tensor
        self._fallback: Tensor

    def anatomy(self, image: Tensor, modality: int) -> Tensor:
        """Binary anatomy ``(N, C, H, W)`` of images ``(N, in_channels, H, W)`` in [-1, 1] of one modality, by index."""
        return self.anatomy_encoders(image, modality)

    def stacked_anatomies(self, images: Sequence[Tensor]) -> Tensor:
        """Anatomies of the images of every modality, each ``(N_m, in_channels, H, W)``, one after the other.

        Use it in training, where it costs less than :meth:`anatomy` of each.
        """
        return self.anatomy_encoders.stacked(images)

    def style(self, anatomy: Tensor, image: Tensor) -> StyleOutput:
        """Mean and log-variance of the modality factor, ``(N, Z)``, from an anatomy and the image it came from."""
        return self.modality_encoder(anatomy, image)

    def decode(self, anatomy: Tensor, style: Tensor) -> Tensor:
        """Image in [-1, 1], ``(N, in_channels, H, W)``, of anatomy ``(N, C, H, W)`` and modality factor ``(N, Z)``.

        Modality factors beyond the number of anatomies render the first anatomies again.
        """
        return self.decoder(anatomy, style)

    def deform(self, moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        """Move an anatomy onto another, both ``(N, C, H, W)``; with ``align=False`` it stays where it is.

        Returns:
            The moved anatomy and the control points' offsets, ``(N, 25, 2)``.
        """
        if self.transformer is None:
            return moving, moving.new_zeros([moving.shape[0], self.num_points, 2])
        moved = self.transformer(moving, fixed)
        return moved.deformed, moved.offsets

    def segment(self, anatomy: Tensor) -> Tensor:
        """Class logits ``(N, K, H, W)`` of an anatomy ``(N, C, H, W)``."""
        return self.segmentor(anatomy)

    def fuse(self, anatomies: Tensor, present: Tensor | None = None) -> Tensor:
        """Voxelwise maximum of the anatomies ``(N, M, C, H, W)`` that are ``present``, bool ``(N, M)``."""
        return fuse_anatomies(anatomies, present)

    def factors(self, image: Tensor, present: Tensor | None = None) -> DAFNetFactors:
        """Everything between image and segmentation, for candidate 0 of every modality.

        Use it for figures and reports, in eval mode; arguments as in :meth:`forward`.
        """
        images, seen = self._split(image, present)
        images, seen = images[:, :, :1], seen[:, :, :1]
        is_present = seen[:, :, 0]
        anatomies = self._anatomies(images, seen)
        reference = self._reference(is_present)
        moved, offsets = self._onto_reference(anatomies, seen, reference)
        mu = self.style(anatomies.flatten(0, 2), images.flatten(0, 2)).mu.unflatten(0, is_present.shape)
        return DAFNetFactors(
            anatomies=anatomies[:, :, 0],
            style=torch.where(is_present.unsqueeze(-1), mu, 0.0),
            deformed=moved[:, :, 0],
            offsets=offsets[:, :, 0],
            fused=self.fuse(moved[:, :, 0], is_present),
            reference=reference,
            present=is_present,
        )

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:
        """Logits ``(B, K, H, W)`` of the reference modality's candidate 0.

        With several candidates and fused inference they are the logarithm of the weighted probabilities,
        ``log(sum_l w_l softmax(h(fused_l)))``.

        Args:
            image: slices in [-1, 1], shape ``(B, M * k * in_channels, H, W)``: all candidates of the first modality,
                then those of the second. A candidate with a NaN is absent; if it is candidate 0, so is the modality.
            present: bool, shape ``(B, M)``; ``None``: the NaN alone decide.
        """
        images, seen = self._split(image, present)
        if self.inference != "fused":
            images, seen = images[:, :, :1], seen[:, :, :1]
        anatomies = self._anatomies(images, seen)
        reference = self._reference(seen[:, :, 0])
        if self.inference == "single":
            return self.segment(_select(anatomies[:, :, 0], reference))
        moved, _ = self._onto_reference(anatomies, seen, reference)
        others = seen[:, :, 0] & ~self._is_reference(reference)
        if self.inference == "deformed":
            alone = ~others.any(dim=1)
            own = _select(moved[:, :, 0], reference)
            fused = torch.where(alone[:, None, None, None], own, self.fuse(moved[:, :, 0], others))
            return self.segment(fused)
        if self.balancer is not None:
            return self._segment_candidates(moved, seen, reference)
        return self.segment(self.fuse(moved[:, :, 0], seen[:, :, 0]))

    def _segment_candidates(self, moved: Tensor, seen: Tensor, reference: Tensor) -> Tensor:
        """Weigh the soft masks of the k fused anatomies; ``moved`` is (B, M, k, C, H, W)."""
        is_reference = self._is_reference(reference).unsqueeze(2)
        usable = seen & ~is_reference  # (B, M, k)
        weights = self._weights(moved, usable, reference)
        # Row (b, l) fuses candidate l of every other modality with the reference's candidate 0.
        rows = moved.transpose(1, 2).flatten(0, 1)
        fused = self.fuse(rows, (usable | is_reference).transpose(1, 2).flatten(0, 1))
        logits = full_precision(self.segment(fused))
        probs = torch.softmax(logits, dim=1).unflatten(0, weights.shape)
        return (weights[:, :, None, None, None] * probs).sum(dim=1).clamp_min(1e-30).log()

    def _weights(self, moved: Tensor, usable: Tensor, reference: Tensor) -> Tensor:
        """Return the weight of every candidate, (B, k), summing to one."""
        own = _select(moved[:, :, 0], reference)[:, None, None].expand_as(moved)
        overlaps = anatomy_overlap(own.flatten(0, 2), moved.flatten(0, 2)).reshape(-1, self.num_candidates)
        assert self.balancer is not None
        weights = full_precision(self.balancer(overlaps)).reshape(usable.shape)
        weights = torch.where(usable, weights, 0.0)
        weights = weights / weights.sum(dim=2, keepdim=True).clamp_min(1e-12)
        count = usable[:, :, 0].sum(dim=1, keepdim=True)
        first = (torch.arange(self.num_candidates, device=moved.device) == 0).to(weights.dtype)
        return torch.where(count > 0, weights.sum(dim=1) / count.clamp_min(1), first)

    def _split(self, image: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the slices (B, M, k, channels, H, W), absent ones zero, and which are there (B, M, k)."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self._check(image, present)
        channels = [self.num_modalities, self.num_candidates, self.in_channels]
        images = image.unflatten(1, channels)
        seen = ~torch.isnan(images).flatten(3).any(dim=3)
        is_present = seen[:, :, :1]
        if present is not None:
            is_present = is_present & present.to(torch.bool).unsqueeze(2)
        seen = seen & is_present
        # Before the first operation: NaN * 0 would be NaN.
        return torch.where(seen[:, :, :, None, None, None], images, 0.0), seen

    def _check(self, image: Tensor, present: Tensor | None) -> None:
        channels = self.num_modalities * self.num_candidates * self.in_channels
        if image.ndim != 4 or image.shape[1] != channels or tuple(image.shape[2:]) != self.spatial_size:
            raise ValueError(
                f"image must have the shape (B, {channels}, {self.spatial_size[0]}, {self.spatial_size[1]}) - "
                f"{self.num_modalities} modalities {list(self.modalities)} x {self.num_candidates} candidate(s) x "
                f"{self.in_channels} channel(s) - got {tuple(image.shape)}."
            )
        if present is not None and tuple(present.shape) != (image.shape[0], self.num_modalities):
            raise ValueError(
                f"present must have the shape ({image.shape[0]}, {self.num_modalities}), got {tuple(present.shape)}."
            )

    def _anatomies(self, images: Tensor, seen: Tensor) -> Tensor:
        """Return (B, M, k, C, H, W), absent ones zero."""
        maps: list[Tensor] = []
        for modality in range(self.num_modalities):
            rows = self.anatomy_encoders(images[:, modality].flatten(0, 1), modality)
            maps.append(rows.unflatten(0, [seen.shape[0], seen.shape[2]]))
        return torch.where(seen[:, :, :, None, None, None], torch.stack(maps, dim=1), 0.0)

    def _reference(self, present: Tensor) -> Tensor:
        """Return the index of each sample's reference modality, (B,)."""
        return torch.where(present, self._priority, self._fallback).argmax(dim=1)

    def _is_reference(self, reference: Tensor) -> Tensor:
        """Return the one-hot form of :meth:`_reference`, bool (B, M)."""
        return torch.arange(self.num_modalities, device=reference.device) == reference.unsqueeze(1)

    def _onto_reference(self, anatomies: Tensor, seen: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Move all onto candidate 0 of the reference, in one batch; its own entries are that candidate itself."""
        own = _select(anatomies[:, :, 0], reference)[:, None, None].expand_as(anatomies)
        is_reference = self._is_reference(reference).unsqueeze(2)  # (B, M, 1)
        rows, offsets = self.deform(anatomies.flatten(0, 2), own.flatten(0, 2))
        moved = torch.where(seen[:, :, :, None, None, None], rows.reshape(anatomies.shape), 0.0)
        moved = torch.where(is_reference[:, :, :, None, None, None], own, moved)
        free = (seen & ~is_reference).unsqueeze(3).unsqueeze(4)
        offsets = torch.where(free, offsets.reshape(list(seen.shape) + list(offsets.shape[1:])), 0.0)
        return moved, offsets


def _select(anatomies: Tensor, reference: Tensor) -> Tensor:
    """Return the reference's map (B, C, H, W) out of (B, M, C, H, W)."""
    index = reference.view(-1, 1, 1, 1, 1).expand(-1, -1, anatomies.shape[2], anatomies.shape[3], anatomies.shape[4])
    return anatomies.gather(1, index).squeeze(1)


def _check_settings(
    spatial_dims: int, modalities: tuple[str, ...], target: str, decoder: str, inference: str, num_candidates: int
) -> None:
    if spatial_dims != 2:
        raise ValueError(f"spatial_dims must be 2: DAFNet aligns and fuses slices; got {spatial_dims}.")
    if not modalities or len(set(modalities)) != len(modalities):
        raise ValueError(f"modalities must be one or more different names, got {list(modalities)}.")
    if target not in modalities:
        close = get_close_matches(target, modalities, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"target must be one of modalities {list(modalities)}, got {target!r}.{hint}")
    if decoder not in ("film", "spade"):
        raise ValueError(f"decoder must be 'film' or 'spade', got {decoder!r}.")
    if inference not in ("fused", "single", "deformed"):
        raise ValueError(f"inference must be 'fused', 'single' or 'deformed', got {inference!r}.")
    if num_candidates < 1:
        raise ValueError(f"num_candidates must be 1 or more, got {num_candidates}.")
