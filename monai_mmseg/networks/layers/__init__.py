# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Layers and pure functions that the networks are built from."""

from __future__ import annotations

from monai_mmseg.networks.layers.attention_gate import SpatialAttentionGate
from monai_mmseg.networks.layers.channel_norm import channel_norm
from monai_mmseg.networks.layers.conditional_conv import ConditionalConv, ConditionalConvInit, Routing
from monai_mmseg.networks.layers.feature_taps import FeatureTaps
from monai_mmseg.networks.layers.film import FiLM, FiLMBlock, film
from monai_mmseg.networks.layers.fusion import fuse_anatomies, pool_anatomies
from monai_mmseg.networks.layers.modality_conversion import add_modality, convert_modality_norm, specialize
from monai_mmseg.networks.layers.modality_norm import MixedBatch, ModalityNorm, ModalityNormNetwork
from monai_mmseg.networks.layers.overlap import anatomy_overlap
from monai_mmseg.networks.layers.spade import (
    SpadeNorm,
    SpadeNormKind,
    SpadeResBlock,
    instance_normalise,
    joint_normalise,
)
from monai_mmseg.networks.layers.spatial_check import require_spatial_size
from monai_mmseg.networks.layers.spectral import spectral_penalty
from monai_mmseg.networks.layers.straight_through import straight_through_argmax, straight_through_round
from monai_mmseg.networks.layers.symmetric_pad import SymmetricPad, symmetric_pad
from monai_mmseg.networks.layers.thin_plate_spline import ThinPlateSpline, polyharmonic_spline, sample_volume

__all__ = [
    "ConditionalConv",
    "ConditionalConvInit",
    "FeatureTaps",
    "FiLM",
    "FiLMBlock",
    "MixedBatch",
    "ModalityNorm",
    "ModalityNormNetwork",
    "Routing",
    "SpadeNorm",
    "SpadeNormKind",
    "SpadeResBlock",
    "SpatialAttentionGate",
    "SymmetricPad",
    "ThinPlateSpline",
    "add_modality",
    "anatomy_overlap",
    "channel_norm",
    "convert_modality_norm",
    "film",
    "fuse_anatomies",
    "instance_normalise",
    "joint_normalise",
    "polyharmonic_spline",
    "pool_anatomies",
    "require_spatial_size",
    "sample_volume",
    "specialize",
    "spectral_penalty",
    "straight_through_argmax",
    "straight_through_round",
    "symmetric_pad",
]
