# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Layers and pure functions that the networks are built from."""

from __future__ import annotations

from monai_mmseg.networks.layers.attention_gate import SpatialAttentionGate
from monai_mmseg.networks.layers.conditional_conv import ConditionalConv
from monai_mmseg.networks.layers.feature_taps import FeatureTaps
from monai_mmseg.networks.layers.film import FiLM, FiLMBlock, film
from monai_mmseg.networks.layers.fusion import fuse_anatomies, pool_anatomies
from monai_mmseg.networks.layers.modality_average import average_sites, modality_of_key
from monai_mmseg.networks.layers.modality_conversion import add_modality, convert_modality_norm, specialize
from monai_mmseg.networks.layers.modality_norm import ModalityNorm, ModalityNormNetwork
from monai_mmseg.networks.layers.overlap import anatomy_overlap
from monai_mmseg.networks.layers.spade import SpadeNorm, SpadeResBlock
from monai_mmseg.networks.layers.straight_through import straight_through_argmax, straight_through_round
from monai_mmseg.networks.layers.symmetric_pad import SymmetricPad
from monai_mmseg.networks.layers.thin_plate_spline import ThinPlateSpline, polyharmonic_spline

__all__ = [
    "ConditionalConv",
    "FeatureTaps",
    "FiLM",
    "FiLMBlock",
    "ModalityNorm",
    "ModalityNormNetwork",
    "SpadeNorm",
    "SpadeResBlock",
    "SpatialAttentionGate",
    "SymmetricPad",
    "ThinPlateSpline",
    "add_modality",
    "anatomy_overlap",
    "average_sites",
    "convert_modality_norm",
    "film",
    "fuse_anatomies",
    "modality_of_key",
    "polyharmonic_spline",
    "pool_anatomies",
    "specialize",
    "straight_through_argmax",
    "straight_through_round",
]
