# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Methods that are not networks: same datalist in, same prediction files out."""

from monai_mmseg.baselines.active_contour import active_contour_baseline, draw_contours
from monai_mmseg.baselines.copy import copy_baseline, copy_label
from monai_mmseg.baselines.register import register_baseline, register_label
from monai_mmseg.baselines.stacks import Stacks

__all__ = [
    "Stacks",
    "active_contour_baseline",
    "copy_baseline",
    "copy_label",
    "draw_contours",
    "register_baseline",
    "register_label",
]
