# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What each method minimises: named terms, phases, and which parameters each phase trains."""

from monai_mmseg.objectives.base import Objective, PhaseOutput, weighted_sum
from monai_mmseg.objectives.dafnet import DAFNetObjective
from monai_mmseg.objectives.disentangle import DisentangleObjective
from monai_mmseg.objectives.downstream import DownstreamSegmentationObjective, DownstreamSynthesisObjective
from monai_mmseg.objectives.dualstream import DualStreamObjective
from monai_mmseg.objectives.munit import MUNITObjective
from monai_mmseg.objectives.sdnet import SDNetObjective
from monai_mmseg.objectives.segmentation import SegmentationObjective
from monai_mmseg.objectives.terms import (
    AffinityTerm,
    KnowledgeDistillationTerm,
    L2Term,
    SegmentationWithTerms,
    Term,
    TermInputs,
)
from monai_mmseg.objectives.unpaired import UnpairedSegmentationObjective

__all__ = [
    "AffinityTerm",
    "DAFNetObjective",
    "DisentangleObjective",
    "DownstreamSegmentationObjective",
    "DownstreamSynthesisObjective",
    "DualStreamObjective",
    "KnowledgeDistillationTerm",
    "L2Term",
    "MUNITObjective",
    "Objective",
    "PhaseOutput",
    "SDNetObjective",
    "SegmentationObjective",
    "SegmentationWithTerms",
    "Term",
    "TermInputs",
    "UnpairedSegmentationObjective",
    "weighted_sum",
]
