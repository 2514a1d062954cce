# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Run folders and the page made of them."""

from monai_mmseg.report.affinity import describe_affinities
from monai_mmseg.report.cases import add_cases
from monai_mmseg.report.dafnet import describe_dafnet
from monai_mmseg.report.disentangle import describe_disentangle, describe_subsets
from monai_mmseg.report.downstream import describe_synthesis, score_subsets
from monai_mmseg.report.html import write_report
from monai_mmseg.report.sections import subset_blocks
from monai_mmseg.report.unpaired import describe_unpaired, evaluate_modalities

__all__ = [
    "add_cases",
    "describe_affinities",
    "describe_dafnet",
    "describe_disentangle",
    "describe_subsets",
    "describe_synthesis",
    "describe_unpaired",
    "evaluate_modalities",
    "score_subsets",
    "subset_blocks",
    "write_report",
]
