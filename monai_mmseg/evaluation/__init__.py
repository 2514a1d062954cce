# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: one evaluator, one table."""

from monai_mmseg.evaluation.evaluate import evaluate_predictions, score_volume
from monai_mmseg.evaluation.files import find_prediction
from monai_mmseg.evaluation.layout import Sheet, is_cross, subset_names, subset_text
from monai_mmseg.evaluation.reconstruction import reconstruction_scores
from monai_mmseg.evaluation.score import MEASURES, OTHERS, Comparison, Line, MeanSd, Measure, MethodInfo, Score, mean_sd
from monai_mmseg.evaluation.subsets import (
    evaluate_subsets,
    hide_modalities,
    image_scores,
    label_scores,
    modality_subsets,
)
from monai_mmseg.evaluation.table import ScoreTable

__all__ = [
    "MEASURES",
    "OTHERS",
    "Comparison",
    "Line",
    "MeanSd",
    "Measure",
    "MethodInfo",
    "Score",
    "ScoreTable",
    "Sheet",
    "evaluate_predictions",
    "evaluate_subsets",
    "find_prediction",
    "hide_modalities",
    "image_scores",
    "is_cross",
    "label_scores",
    "mean_sd",
    "modality_subsets",
    "reconstruction_scores",
    "score_volume",
    "subset_names",
    "subset_text",
]
