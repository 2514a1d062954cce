# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A one-modality network behind the many-modalities contract."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_mmseg.networks.dropout import set_dropout


class SelectModality(nn.Module):
    """Any network of one modality, fed with one of the modalities of a stack.

    Use it to run a plain network (a baseline, say) in a pipeline that hands over ``(B, M * k, *spatial)``, beside the
    networks that use all of it.

    Args:
        network: takes ``(B, 1, *spatial)``.
        modality: number of the modality it sees; in samples that lack it, the first one that is there.
        num_modalities: number ``M`` of modalities of the stack.
        dropout: probability of every dropout layer of the network; ``None`` leaves them as they are. MONAI Label sets
            it to ask how sure the network is.

    Raises:
        ValueError: if ``modality`` is not one of ``0 .. num_modalities - 1``, or the network has no layer for
            ``dropout``.

    Examples:
        >>> net = SelectModality(nn.Conv2d(1, 3, 1), modality=1, num_modalities=2)
        >>> net(torch.zeros(1, 2, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(self, network: nn.Module, modality: int, num_modalities: int, *, dropout: float | None = None) -> None:
        super().__init__()
        if not 0 <= modality < num_modalities:
            raise ValueError(f"modality must be one of 0 .. {num_modalities - 1}, got {modality}.")
        if dropout is not None:
            set_dropout(network, dropout)
        self.network = network
        self.modality = modality
        self.num_modalities = num_modalities
        order = torch.arange(num_modalities, 0, -1, dtype=torch.float32)
        order[modality] = num_modalities + 1.0
        self.register_buffer("_priority", order, persistent=False)
        self._priority: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """What the network gives for the selected modality, ``(B, K, *spatial)``.

        Args:
            image: the stack ``(B, M * k, *spatial)``, of which the first of the ``k`` slices is used, or one modality
                alone ``(B, 1, *spatial)``. NaN anywhere means absent; where nothing is there the network sees zeros.
        """
        if image.shape[1] > 1:
            first = image[:, :: image.shape[1] // self.num_modalities]
            seen = ~torch.isnan(first).flatten(2).any(dim=2)
            chosen = torch.where(seen, self._priority, 0.0).argmax(dim=1)
            image = first[torch.arange(image.shape[0], device=image.device), chosen].unsqueeze(1)
        return self.network(torch.where(torch.isnan(image), torch.zeros_like(image), image))
