# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Shapes of the organs that phantoms show."""

from __future__ import annotations

from monai_mmseg.phantom.anatomy.abdomen import AbdomenAnatomy, AbdomenShape
from monai_mmseg.phantom.anatomy.brain import BrainAnatomy, BrainShape
from monai_mmseg.phantom.anatomy.heart import HeartAnatomy, HeartShape
from monai_mmseg.phantom.anatomy.torso import BODY_TISSUES, Torso
from monai_mmseg.phantom.anatomy.tumour import Tumour
from monai_mmseg.phantom.anatomy.whole_heart import CardiacAnatomy, CardiacShape

__all__ = [
    "BODY_TISSUES",
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
