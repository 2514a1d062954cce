# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What each method minimises: named terms, phases, and which parameters each phase trains."""

from monai_mmseg.objectives.base import Objective, PhaseOutput, weighted_sum
from monai_mmseg.objectives.csa import CSAObjective
from monai_mmseg.objectives.dafnet import DAFNetObjective
from monai_mmseg.objectives.disentangle import DisentangleObjective
from monai_mmseg.objectives.downstream import DownstreamSegmentationObjective, DownstreamSynthesisObjective
from monai_mmseg.objectives.segmentation import SegmentationObjective
from monai_mmseg.objectives.ummkd import UMMKDObjective

__all__ = [
    "CSAObjective",
    "DAFNetObjective",
    "DisentangleObjective",
    "DownstreamSegmentationObjective",
    "DownstreamSynthesisObjective",
    "Objective",
    "PhaseOutput",
    "SegmentationObjective",
    "UMMKDObjective",
    "weighted_sum",
]
