# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Phantoms: generated subjects with known labels and known motion between the modalities."""

from __future__ import annotations

from monai_mmseg.phantom.artefacts import ARTEFACTS
from monai_mmseg.phantom.brain import BRAIN_PROTOCOLS, BRAIN_SEQUENCES, make_brain_phantom, make_brain_volumes
from monai_mmseg.phantom.brain_tables import BRAIN_TABLES, BRAIN_TISSUES
from monai_mmseg.phantom.cmr import CMR_PROTOCOLS, make_cmr_phantom, make_cmr_volume
from monai_mmseg.phantom.ct import acquire_ct
from monai_mmseg.phantom.ct_mr import (
    make_abdomen_phantom,
    make_cardiac_phantom,
    make_ct_mr_volume,
)
from monai_mmseg.phantom.ct_mr_tables import ABDOMEN_TABLES, CARDIAC_TABLES, inverse_table
from monai_mmseg.phantom.fields import SmoothField
from monai_mmseg.phantom.grid import Grid, oblique_grid, rotation_matrix
from monai_mmseg.phantom.heart import HEART_PROTOCOLS, Protocol, make_heart_phantom, make_heart_volume
from monai_mmseg.phantom.motion import Motion, MotionModel
from monai_mmseg.phantom.scanner import acquire, render
from monai_mmseg.phantom.tissues import HEART_TABLES, HEART_TISSUES, TissueTable
from monai_mmseg.phantom.unpaired import UnpairedVolume, VolumeProtocol
from monai_mmseg.phantom.writer import OUTLIERS

__all__ = [
    "ABDOMEN_TABLES",
    "ARTEFACTS",
    "BRAIN_PROTOCOLS",
    "BRAIN_SEQUENCES",
    "BRAIN_TABLES",
    "BRAIN_TISSUES",
    "CARDIAC_TABLES",
    "CMR_PROTOCOLS",
    "HEART_PROTOCOLS",
    "HEART_TABLES",
    "HEART_TISSUES",
    "OUTLIERS",
    "Grid",
    "Motion",
    "MotionModel",
    "Protocol",
    "SmoothField",
    "TissueTable",
    "UnpairedVolume",
    "VolumeProtocol",
    "acquire",
    "acquire_ct",
    "inverse_table",
    "make_abdomen_phantom",
    "make_brain_phantom",
    "make_brain_volumes",
    "make_cardiac_phantom",
    "make_cmr_phantom",
    "make_cmr_volume",
    "make_ct_mr_volume",
    "make_heart_phantom",
    "make_heart_volume",
    "oblique_grid",
    "render",
    "rotation_matrix",
]
