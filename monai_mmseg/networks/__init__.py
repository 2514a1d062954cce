# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Networks and the layers they are made of."""

from __future__ import annotations

from monai_mmseg.networks import layers, nets
from monai_mmseg.networks.dropout import set_dropout
from monai_mmseg.networks.initialisation import (
    balance_channels_,
    glorot_uniform,
    he_normal,
    he_normal_,
    narrow_normal,
)

__all__ = [
    "balance_channels_",
    "glorot_uniform",
    "he_normal",
    "he_normal_",
    "layers",
    "narrow_normal",
    "nets",
    "set_dropout",
]
