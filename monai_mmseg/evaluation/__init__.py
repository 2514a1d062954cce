# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: one evaluator, one table, and measures of disentanglement."""

from monai_mmseg.evaluation.disentanglement import (
    LatentTraversal,
    ModalityClassification,
    disentanglement_report,
    latent_traversal,
    modality_classification,
    posterior_variance,
)
from monai_mmseg.evaluation.evaluate import evaluate_predictions, score_rows
from monai_mmseg.evaluation.files import find_prediction
from monai_mmseg.evaluation.knowledge import KnowledgeHistory, add_knowledge, read_knowledge
from monai_mmseg.evaluation.reconstruction import IMAGE_MEASURES, OTHERS, ReconstructionRow, reconstruction_rows
from monai_mmseg.evaluation.reconstruction_table import ReconstructionLine, ReconstructionTable
from monai_mmseg.evaluation.rows import ScoreRow
from monai_mmseg.evaluation.silhouettes import Silhouettes, embed, silhouettes
from monai_mmseg.evaluation.summary import FOREGROUND, MeanSd, SummaryRow, mean_sd, subject_means
from monai_mmseg.evaluation.table import EvaluationTable, MethodInfo

__all__ = [
    "FOREGROUND",
    "IMAGE_MEASURES",
    "OTHERS",
    "EvaluationTable",
    "KnowledgeHistory",
    "LatentTraversal",
    "MeanSd",
    "MethodInfo",
    "ModalityClassification",
    "ReconstructionLine",
    "ReconstructionRow",
    "ReconstructionTable",
    "ScoreRow",
    "Silhouettes",
    "SummaryRow",
    "add_knowledge",
    "disentanglement_report",
    "embed",
    "evaluate_predictions",
    "find_prediction",
    "latent_traversal",
    "mean_sd",
    "modality_classification",
    "posterior_variance",
    "read_knowledge",
    "reconstruction_rows",
    "score_rows",
    "silhouettes",
    "subject_means",
]
