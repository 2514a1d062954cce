# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Shapes of the organs that phantoms show."""

from __future__ import annotations

from monai_mmseg.data.phantom.anatomy.abdomen import ABDOMEN_LABELS, AbdomenAnatomy, AbdomenShape
from monai_mmseg.data.phantom.anatomy.brain import BrainAnatomy, BrainShape
from monai_mmseg.data.phantom.anatomy.heart import HEART_LABELS, HeartAnatomy, HeartShape
from monai_mmseg.data.phantom.anatomy.torso import BODY_TISSUES, Torso
from monai_mmseg.data.phantom.anatomy.tumour import TUMOUR_LABELS, Tumour
from monai_mmseg.data.phantom.anatomy.whole_heart import CARDIAC_LABELS, CardiacAnatomy, CardiacShape

__all__ = [
    "ABDOMEN_LABELS",
    "BODY_TISSUES",
    "CARDIAC_LABELS",
    "HEART_LABELS",
    "TUMOUR_LABELS",
    "AbdomenAnatomy",
    "AbdomenShape",
    "BrainAnatomy",
    "BrainShape",
    "CardiacAnatomy",
    "CardiacShape",
    "HeartAnatomy",
    "HeartShape",
    "Torso",
    "Tumour",
]
