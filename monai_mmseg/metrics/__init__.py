# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Metrics: scores of whole subjects in which failures count, disentanglement, and tests of a difference."""

from __future__ import annotations

from monai_mmseg.metrics.cross_reconstruction import NegativeCrossError
from monai_mmseg.metrics.disentanglement import (
    LatentTraversal,
    ModalityClassification,
    TrainingCodes,
    disentanglement_report,
    latent_traversal,
    modality_classification,
    posterior_variance,
)
from monai_mmseg.metrics.distance_correlation import distance_correlation, distance_covariance, distance_variance
from monai_mmseg.metrics.image_similarity import (
    ImageSimilarity,
    OriginalSimilarity,
    image_similarity,
    original_image_similarity,
)
from monai_mmseg.metrics.original_overlap import original_dice
from monai_mmseg.metrics.paper_dice import PAPER_DICE, paper_dice
from monai_mmseg.metrics.pooled_dice import pooled_dice
from monai_mmseg.metrics.segmentation import (
    ClassScore,
    SurfaceDistances,
    image_diagonal,
    segmentation_scores,
    surface_distances,
)
from monai_mmseg.metrics.significance import (
    Interval,
    PairedTest,
    Ranks,
    bootstrap_interval,
    friedman_test,
    holm_correction,
    paired_permutation_test,
    paired_t_test,
    wilcoxon_test,
)
from monai_mmseg.metrics.silhouettes import Silhouettes, embed, silhouettes
from monai_mmseg.metrics.subject_distance import SubjectDistance

__all__ = [
    "PAPER_DICE",
    "ClassScore",
    "ImageSimilarity",
    "Interval",
    "LatentTraversal",
    "ModalityClassification",
    "NegativeCrossError",
    "OriginalSimilarity",
    "PairedTest",
    "Ranks",
    "Silhouettes",
    "SubjectDistance",
    "SurfaceDistances",
    "TrainingCodes",
    "bootstrap_interval",
    "disentanglement_report",
    "distance_correlation",
    "distance_covariance",
    "distance_variance",
    "embed",
    "friedman_test",
    "holm_correction",
    "image_diagonal",
    "image_similarity",
    "latent_traversal",
    "modality_classification",
    "original_dice",
    "original_image_similarity",
    "paired_permutation_test",
    "paired_t_test",
    "paper_dice",
    "pooled_dice",
    "posterior_variance",
    "segmentation_scores",
    "silhouettes",
    "surface_distances",
    "wilcoxon_test",
]
