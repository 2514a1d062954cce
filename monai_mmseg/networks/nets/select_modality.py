# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A network of one modality at a time behind the many-modalities contract."""

from __future__ import annotations

from collections.abc import Sequence

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

        Raises:
            ValueError: if the channels are no stack of the modalities.
        """
        return self.network(self.select(image)[0])

    def select(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees of ``image``, ``(B, 1, *spatial)``, and its modality ``(B,)``; see :meth:`forward`."""
        if image.shape[1] > 1 and image.shape[1] % self.num_modalities != 0:
            raise ValueError(
                f"image must have one channel, or as many for each of {self.num_modalities} modalities, got "
                f"{image.shape[1]}."
            )
        chosen = torch.full([image.shape[0]], self.modality, device=image.device)
        if image.shape[1] > 1:
            first = image[:, :: image.shape[1] // self.num_modalities]
            seen = ~torch.isnan(first).flatten(2).any(dim=2)
            chosen = torch.where(seen, self._priority, 0.0).argmax(dim=1)
            image = first[torch.arange(image.shape[0], device=image.device), chosen].unsqueeze(1)
        return torch.where(torch.isnan(image), torch.zeros_like(image), image), chosen


class SelectStream(SelectModality):
    """A network with a stream a modality, fed with one of the modalities of a stack, through that modality's stream.

    Use it as :class:`SelectModality` with networks that are told the stream: ``network(image, number)``.

    Args:
        network: takes ``(B, 1, *spatial)`` and the number of a stream.
        modality: see :class:`SelectModality`.
        num_modalities: see :class:`SelectModality`.
        unlabelled: modalities without labels in training. Their streams would learn nothing, so their images go through
            that of the first labelled one.
        dropout: see :class:`SelectModality`.

    Raises:
        ValueError: if ``unlabelled`` names no modality, or all; and as for :class:`SelectModality`.

    Examples:
        >>> from monai_mmseg.networks.nets import DualStreamUNet
        >>> net = SelectStream(DualStreamUNet(out_channels=3, features=(4, 8)), modality=1, num_modalities=2)
        >>> net(torch.zeros(1, 2, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(
        self,
        network: nn.Module,
        modality: int,
        num_modalities: int,
        *,
        unlabelled: Sequence[int] = (),
        dropout: float | None = None,
    ) -> None:
        super().__init__(network, modality, num_modalities, dropout=dropout)
        labelled = [number for number in range(num_modalities) if number not in unlabelled]
        if not labelled or not set(unlabelled) <= set(range(num_modalities)):
            raise ValueError(
                f"unlabelled must leave out at least one of 0 .. {num_modalities - 1}, got {list(unlabelled)}."
            )
        self.stream_of = [number if number in labelled else labelled[0] for number in range(num_modalities)]
        self.used = sorted(set(self.stream_of))
        self.register_buffer("_streams", torch.tensor(self.stream_of), persistent=False)
        self._streams: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """What the network gives for the selected modality, ``(B, K, *spatial)``; ``image`` as in the base class."""
        seen, chosen = self.select(image)
        stream = self._streams[chosen].reshape([-1] + [1] * (seen.dim() - 1))
        out = self.network(seen, self.used[0])
        for other in self.used[1:]:
            out = torch.where(stream == other, self.network(seen, other), out)
        return out
