# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Inferers: volumes in, volumes out."""

from monai_mmseg.inferers.downstream_inferer import DownstreamInferer
from monai_mmseg.inferers.redraw_inferer import CrossDrawingInferer, RedrawInferer, cross_drawings
from monai_mmseg.inferers.slice_inferer import ModalitySliceInferer

__all__ = [
    "CrossDrawingInferer",
    "DownstreamInferer",
    "ModalitySliceInferer",
    "RedrawInferer",
    "cross_drawings",
]
