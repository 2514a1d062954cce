# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What each method minimises: named terms, phases, and which parameters each phase trains."""

from monai_mmseg.objectives.base import Objective, PhaseOutput, weighted_sum
from monai_mmseg.objectives.dafnet import DAFNetObjective
from monai_mmseg.objectives.segmentation import SegmentationObjective

__all__ = ["DAFNetObjective", "Objective", "PhaseOutput", "SegmentationObjective", "weighted_sum"]
