# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Networks and the layers they are made of."""

from __future__ import annotations

from monai_mmseg.networks import layers, nets
from monai_mmseg.networks.initialisation import glorot_uniform, he_normal, narrow_normal

__all__ = [
    "glorot_uniform",
    "he_normal",
    "layers",
    "narrow_normal",
    "nets",
]
