# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Phantoms: generated subjects with known labels and known motion between the modalities."""

from __future__ import annotations

from monai_mmseg.data.phantom.fields import SmoothField
from monai_mmseg.data.phantom.grid import Grid, oblique_grid, rotation_matrix
from monai_mmseg.data.phantom.heart import HEART_PROTOCOLS, Protocol, make_heart_phantom, make_heart_volume
from monai_mmseg.data.phantom.motion import Motion, MotionModel
from monai_mmseg.data.phantom.scanner import acquire, render
from monai_mmseg.data.phantom.tissues import HEART_TABLES, HEART_TISSUES, TissueTable

__all__ = [
    "HEART_PROTOCOLS",
    "HEART_TABLES",
    "HEART_TISSUES",
    "Grid",
    "Motion",
    "MotionModel",
    "Protocol",
    "SmoothField",
    "TissueTable",
    "acquire",
    "make_heart_phantom",
    "make_heart_volume",
    "oblique_grid",
    "render",
    "rotation_matrix",
]
