# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A further network on the pooled anatomies of whichever modalities are there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_mmseg.networks.layers.fusion import pool_anatomies
from monai_mmseg.networks.nets.disentangle.disentangle import DisentangleNet
from monai_mmseg.networks.nets.disentangle.downstream import DownstreamNet, split_modalities


class FusedAnatomyNet(DownstreamNet):
    """Encodes each modality that is there, pools the anatomies, and runs a network on them.

    Use it for any task whose network shall work with whichever modalities a subject has: the pooled anatomies have
    ``len(pools) * encoder.anatomy_channels`` channels, be there one modality or all. The encoder comes from training
    without labels (:meth:`load_encoder`) and is part of the weights.

    Args:
        encoder: trained by :class:`~monai_mmseg.objectives.DisentangleObjective`.
        task: takes the pooled anatomies.
        pools: see :func:`~monai_mmseg.networks.layers.pool_anatomies`.
        frozen: leave the encoder alone, parameters and running statistics. Otherwise its anatomy encoders are trained
            too; give them a smaller learning rate by ``objective.parameter_groups(..., {"network.encoder": 0.1})``.
        volumetric: the encoder is for slices and the task for volumes ``(B, M, H, W, D)``: each slice is encoded with
            its neighbours (the first and last slice stand in for those beyond), and the anatomies are stacked.
        with_images: put the images beside the anatomies, zeros where one is absent: the task sees intensities that an
            anatomy does not hold. It then has M further channels (M * S of an encoder of slices with S channels), and
            should meet missing modalities in training.
        chunk: slices that are encoded at a time.
        dropout: probability of every dropout layer of the task; ``None`` leaves them as they are. MONAI Label sets it
            when it asks a network how sure it is.

    Raises:
        ValueError: when an argument does not fit, or the image has another shape.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: section 2.3. Differs from the released code: frozen layers do not
        follow the statistics of their batches, and modalities are pooled. Neither paper nor code has ``with_images``.

    Examples:
        >>> encoder = DisentangleNet(
        ...     2, 1, modalities=("t1", "t2"), target="t2", spatial_size=(64, 32), anatomy_features=(4, 8, 8, 8, 8),
        ...     appearance_features=(4, 8), decoder_features=(8, 8, 8, 8, 4, 4, 2),
        ... )
        >>> net = FusedAnatomyNet(encoder, nn.Conv3d(12, 3, 1), volumetric=True).eval()
        >>> image = torch.rand(1, 2, 64, 32, 5)
        >>> image[:, 1] = float("nan")  # no T2
        >>> net(image).shape
        torch.Size([1, 3, 64, 32, 5])
    """

    def __init__(
        self,
        encoder: DisentangleNet,
        task: nn.Module,
        *,
        pools: Sequence[str] = ("max", "mean", "min"),
        frozen: bool = True,
        volumetric: bool = False,
        with_images: bool = False,
        chunk: int = 16,
        dropout: float | None = None,
    ) -> None:
        super().__init__(task, dropout=dropout)
        if not pools or any(pool not in ("max", "mean", "min") for pool in pools):
            raise ValueError(f"pools must be of 'max', 'mean' and 'min', got {list(pools)}.")
        if volumetric and (encoder.spatial_dims != 2 or encoder.in_channels % 2 == 0):
            raise ValueError(
                "volumetric needs an encoder of slices with an odd number of channels (a slice and its neighbours), "
                f"got spatial_dims={encoder.spatial_dims} and in_channels={encoder.in_channels}."
            )
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}.")
        self.encoder, self.pools, self.chunk = encoder, tuple(pools), int(chunk)
        self.frozen, self.volumetric, self.modalities = bool(frozen), bool(volumetric), encoder.modalities
        self.with_images = bool(with_images)
        encoder.requires_grad_(False)
        if not frozen:  # appearance and decoder serve no task
            encoder.anatomy_encoders.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> FusedAnatomyNet:
        """Set the mode; a frozen encoder stays in evaluation mode, so that its running statistics do not move."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def load_encoder(self, path: str | os.PathLike[str]) -> None:
        """Take the encoder's weights from a file.

        Args:
            path: weights of a :class:`DisentangleNet`, or of a network of this class.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it holds other weights.
        """
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"the encoder's weights {file.as_posix()} are not there.")
        state: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        own = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
        try:
            self.encoder.load_state_dict(own or state)
        except RuntimeError as error:
            first = (str(error).splitlines()[1:] or [str(error)])[0].strip()[:200]
            raise ValueError(
                f"{file.as_posix()} must hold weights of the encoder that is configured (modalities "
                f"{list(self.encoder.modalities)}, {self.encoder.in_channels} channel(s), spatial size "
                f"{tuple(self.encoder.spatial_size)}). {first}"
            ) from error

    def inputs(self, image: Tensor, present: Tensor | None = None, slices: Tensor | None = None) -> Tensor:
        """Pooled anatomies ``(B, len(pools) * anatomy_channels, *spatial)``, then images; zeros where nothing is.

        Args:
            image: ``(B, M * S, *spatial_size)`` with S channels a modality; volumetric: ``(B, M, H, W, D)``. A modality
                with a NaN is absent.
            present: bool, shape ``(B, M)``; ``None``: the NaN alone decide.
            slices: makes no difference here.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            pooled = self._volume(image, present) if self.volumetric else self._pooled(image, present)
        if not self.with_images:
            return pooled
        channels = 1 if self.volumetric else self.encoder.in_channels
        images, is_present = split_modalities(image, self.modalities, channels, present)
        own = torch.where(is_present.unflatten(1, (-1, *[1] * (images.ndim - 2))), images, 0).flatten(1, 2)
        return torch.cat([pooled, own.to(pooled.dtype)], 1)

    def _volume(self, image: Tensor, present: Tensor | None) -> Tensor:
        if image.ndim != 5:
            raise ValueError(
                f"image must have the shape (B, {len(self.modalities)}, H, W, D), got {tuple(image.shape)}."
            )
        _, is_present = split_modalities(image, self.modalities, 1, present)
        # a modality is there or not as a volume, not slice by slice
        image = torch.where(is_present[:, :, None, None, None], image, torch.nan)
        depth, slices = image.shape[-1], self.encoder.in_channels
        places = torch.arange(depth, device=image.device)[:, None] + torch.arange(slices, device=image.device)
        places = (places - slices // 2).clamp(0, depth - 1)
        parts = []
        for start in range(0, depth, self.chunk):
            window = image[..., places[start : start + self.chunk]]  # (B, M, H, W, d, S)
            count = window.shape[4]
            flat = window.permute(0, 4, 1, 5, 2, 3).flatten(2, 3).flatten(0, 1)  # (B * d, M * S, H, W)
            known = None if present is None else present.repeat_interleave(count, 0)
            parts.append(self._pooled(flat, known).unflatten(0, (-1, count)).movedim(1, -1))
        return torch.cat(parts, -1)

    def _pooled(self, image: Tensor, present: Tensor | None) -> Tensor:
        encoder = self.encoder
        if not self.training:  # a fixed number of rows, as exporters need
            factors = encoder.factors(image, present)
            return pool_anatomies(factors.anatomy, factors.present, self.pools)
        # what is absent must not reach the statistics of a batch, and needs no time
        images, is_present = encoder.split(image, present)
        rows = (is_present if present is None else present.bool()).cpu().T.nonzero()
        modality, sample = rows[:, 0], rows[:, 1].to(image.device, non_blocking=True)
        index = modality.to(image.device, non_blocking=True)
        mask = encoder.foreground(images, is_present)
        own, _ = encoder.encode(images[sample, index], modality.tolist(), None if mask is None else mask[sample])
        maps = own.new_zeros(*is_present.shape, *own.shape[1:]).index_put((sample, index), own)
        return pool_anatomies(maps, is_present, self.pools)
