# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The dropout of a network that is there already."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.dropout import _DropoutNd


def set_dropout(network: nn.Module, dropout: float) -> None:
    """Give every dropout layer of a network the same probability.

    When to use: for tools such as MONAI Label, which set it when they ask a network how sure it is.

    Args:
        network: has dropout layers; they are changed in place.
        dropout: the probability.

    Raises:
        ValueError: if ``dropout`` is no probability below 1, or the network has no dropout layer.

    Examples:
        >>> network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout2d(0.0))
        >>> set_dropout(network, 0.2)
        >>> network[1].p
        0.2
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _DropoutNd)]
    if not layers or not 0 <= dropout < 1:
        raise ValueError(
            f"dropout must lie in [0, 1) and needs dropout layers, got {dropout} for {type(network).__name__} with "
            f"{len(layers)} of them."
        )
    for layer in layers:
        layer.p = float(dropout)
