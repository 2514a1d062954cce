# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: one evaluator, one table, and measures of disentanglement."""

from monai_mmseg.evaluation.evaluate import evaluate_predictions, score_rows
from monai_mmseg.evaluation.files import find_prediction
from monai_mmseg.evaluation.reconstruction import IMAGE_MEASURES, OTHERS, ReconstructionRow, reconstruction_rows
from monai_mmseg.evaluation.reconstruction_table import ReconstructionLine, ReconstructionTable
from monai_mmseg.evaluation.rows import ScoreRow
from monai_mmseg.evaluation.subset_rows import Measure, SubsetLine, SubsetRow, SubsetTest, measure_of
from monai_mmseg.evaluation.subset_table import SubsetTable
from monai_mmseg.evaluation.subsets import (
    evaluate_subsets,
    hide_modalities,
    image_scores,
    label_scores,
    modality_subsets,
)
from monai_mmseg.evaluation.summary import FOREGROUND, MeanSd, SummaryRow, mean_sd, subject_means
from monai_mmseg.evaluation.table import EvaluationTable, MethodInfo

__all__ = [
    "FOREGROUND",
    "IMAGE_MEASURES",
    "OTHERS",
    "EvaluationTable",
    "MeanSd",
    "Measure",
    "MethodInfo",
    "ReconstructionLine",
    "ReconstructionRow",
    "ReconstructionTable",
    "ScoreRow",
    "SubsetLine",
    "SubsetRow",
    "SubsetTable",
    "SubsetTest",
    "SummaryRow",
    "evaluate_predictions",
    "evaluate_subsets",
    "find_prediction",
    "hide_modalities",
    "image_scores",
    "label_scores",
    "mean_sd",
    "measure_of",
    "modality_subsets",
    "reconstruction_rows",
    "score_rows",
    "subject_means",
]
