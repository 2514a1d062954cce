# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Layers and pure functions that the networks are built from."""

from __future__ import annotations

from monai_mmseg.networks.layers.film import FiLM, FiLMBlock, film
from monai_mmseg.networks.layers.fusion import fuse_anatomies
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
from monai_mmseg.networks.layers.thin_plate_spline import ThinPlateSpline, polyharmonic_spline, sample_volume

__all__ = [
    "FiLM",
    "FiLMBlock",
    "SpadeNorm",
    "SpadeNormKind",
    "SpadeResBlock",
    "ThinPlateSpline",
    "anatomy_overlap",
    "film",
    "fuse_anatomies",
    "instance_normalise",
    "joint_normalise",
    "polyharmonic_spline",
    "require_spatial_size",
    "sample_volume",
    "spectral_penalty",
    "straight_through_argmax",
    "straight_through_round",
]
