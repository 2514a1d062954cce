# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Shapes of the organs that phantoms show."""

from __future__ import annotations

from monai_mmseg.data.phantom.anatomy.heart import HEART_LABELS, HeartAnatomy, HeartShape

__all__ = ["HEART_LABELS", "HeartAnatomy", "HeartShape"]
