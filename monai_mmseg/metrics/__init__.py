# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Metrics: scores of whole subjects in which failures count, disentanglement, and tests of a difference."""

from __future__ import annotations

from monai_mmseg.metrics.cross_drawing import NegativeCrossError
from monai_mmseg.metrics.distance_correlation import distance_correlation, distance_covariance, distance_variance
from monai_mmseg.metrics.image_similarity import (
    ImageSimilarity,
    ReleasedSimilarity,
    image_similarity,
    released_image_similarity,
)
from monai_mmseg.metrics.pooled_dice import pooled_dice
from monai_mmseg.metrics.released_overlap import released_dice, released_iou
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
    bootstrap_interval,
    holm_correction,
    paired_permutation_test,
)
from monai_mmseg.metrics.subject_distance import SubjectDistance

__all__ = [
    "ClassScore",
    "ImageSimilarity",
    "Interval",
    "NegativeCrossError",
    "PairedTest",
    "ReleasedSimilarity",
    "SubjectDistance",
    "SurfaceDistances",
    "bootstrap_interval",
    "distance_correlation",
    "distance_covariance",
    "distance_variance",
    "holm_correction",
    "image_diagonal",
    "image_similarity",
    "paired_permutation_test",
    "pooled_dice",
    "released_dice",
    "released_image_similarity",
    "released_iou",
    "segmentation_scores",
    "surface_distances",
]
