# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How much of one network several modalities share, as one argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import nn

from monai_mmseg.networks.dropout import set_dropout
from monai_mmseg.networks.layers.modality_conversion import convert_modality_norm
from monai_mmseg.networks.nets.ummkd.modality_streams import ModalityStreams


def share_network(
    network: nn.Module,
    modalities: Sequence[str],
    separate: str | Sequence[str] = "norm",
    default_modality: str | None = None,
    dropout: float | None = None,
) -> nn.Module:
    """One network for several modalities, with the parts that are to be separate once for each of them.

    Use it in a config, where the settings that a paper compares then differ in one value.

    Args:
        network: the plain network.
        modalities: names; their order gives the indices.
        separate: ``"norm"``: all normalisation layers, the kernels are shared (any network); or the names of the stages
            that are separate with all that is in them, none for a network that knows no modalities ("joint"),
            some ("Y-shape", "X-shape"), or all (networks with ``stages``); or the word that the network has for a list
            of them, such as ``"encoder"``.
        default_modality: what ``modality=None`` means. ``None``: the first.
        dropout: probability of every dropout layer that the network has; ``None`` leaves them as they are. MONAI Label
            sets it when it asks a network how sure it is.

    Returns:
        A copy, to be called with ``network(image, modality)``: see
        :func:`~monai_mmseg.networks.layers.convert_modality_norm` and
        :class:`~monai_mmseg.networks.nets.ModalityStreams`.

    Raises:
        ValueError: if ``separate`` is another word, or does not fit the network; if it has no layer for ``dropout``.

    Examples:
        >>> from monai_mmseg.networks.nets import AnisotropicUNet
        >>> plain = AnisotropicUNet(3, 1, 5, features=(4, 8, 16, 32))
        >>> [type(share_network(plain, ["ct", "mr"], parts)).__name__ for parts in ("norm", [], ["encoder_1"])]
        ['ModalityNormNetwork', 'ModalityStreams', 'ModalityStreams']
    """
    shared = _shared(network, modalities, separate, default_modality)
    if dropout is not None:
        set_dropout(shared, dropout)
    return shared


def _shared(
    network: nn.Module, modalities: Sequence[str], separate: str | Sequence[str], default_modality: str | None
) -> nn.Module:
    if separate == "norm":
        return convert_modality_norm(network, modalities, default_modality)
    if isinstance(separate, str):
        named = getattr(network, separate, None)  # a plain word, for configs
        if not isinstance(named, list):
            raise ValueError(f"separate must be 'norm' or a list of stages, got {separate!r}.")
        separate = named
    if not separate and not getattr(network, "stages", None):
        return _SharedWhole(_OneStage(network), modalities, default_modality=default_modality)
    return ModalityStreams(network, modalities, separate=separate, default_modality=default_modality)


class _OneStage(nn.Module):
    """Any network as one stage, so that all modalities can share it."""

    stages = ("network",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class _SharedWhole(ModalityStreams):
    """A network without stages that all modalities share."""

    def specialize(self, modality: str | int) -> nn.Module:
        """The network, in its original class; ``modality``, a name or an index, is checked only."""
        return cast(nn.Module, super().specialize(modality).network)
