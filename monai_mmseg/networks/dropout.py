# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Dropout whose masks are cheap on CPUs, and the dropout of a network that is there already."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.layers.utils import get_dropout_layer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd

LayerSetting = tuple[str, dict[str, Any]] | str
LEVELS = 2**16  # of the 16 random bits that decide about a value


class ValueDropout(nn.Dropout):
    """``torch.nn.Dropout`` that draws four values with one random number on a CPU.

    When to use: in place of ``torch.nn.Dropout`` behind every convolution of a network that is trained on CPUs, where
    random numbers cost a tenth of a step in bfloat16. The probability is rounded to a multiple of ``1 / 65536`` and the
    values that are kept are scaled by the rounded one, so that the mean stays as it is. On a GPU, in evaluation,
    compiled and in TorchScript it is ``torch.nn.Dropout``. Other masks are drawn from a seed than there.

    Args:
        p: probability of dropping a value.
        inplace: as there, with masks drawn as there.

    Raises:
        ValueError: if ``p`` lies outside [0, 1].

    Examples:
        >>> layer = ValueDropout(0.75)
        >>> layer(torch.ones(2, 3, 8, 8)).unique()
        tensor([0., 4.])
    """

    def forward(self, image: Tensor) -> Tensor:
        """The image, of any shape, with values dropped in training."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            plain = not self.training or self.inplace or not 0 < self.p < 1
            if not plain and image.device.type == "cpu" and not torch.compiler.is_compiling():
                return image * _scaled_mask(image, self.p)
        return F.dropout(image, self.p, self.training, self.inplace)


def _scaled_mask(image: Tensor, p: float) -> Tensor:
    """Of the layout of the image: 0, or what keeps the mean."""
    cut = min(max(round(p * LEVELS), 1), LEVELS - 1)
    mask = torch.empty_like(image, requires_grad=False)
    bits = torch.empty(-(-mask.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = bits[: mask.numel()] >= cut - LEVELS // 2
    return mask.copy_(kept.as_strided(mask.size(), mask.stride())).mul_(LEVELS / (LEVELS - cut))


def value_dropout(dropout: LayerSetting | float) -> nn.Module:
    """Dropout of single values by probability, or MONAI's layer by name and arguments.

    When to use: in a network whose dropout is a setting.

    Args:
        dropout: probability, or what :func:`monai.networks.layers.get_dropout_layer` takes.

    Returns:
        The layer; :class:`ValueDropout` for the dropout of single values.

    Examples:
        >>> value_dropout(0.25), value_dropout(("alphadropout", {"p": 0.5}))
        (ValueDropout(p=0.25, inplace=False), AlphaDropout(p=0.5, inplace=False))
    """
    layer: nn.Module = get_dropout_layer(dropout, dropout_dim=1)
    return ValueDropout(layer.p) if type(layer) is nn.Dropout and not layer.inplace else layer


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
