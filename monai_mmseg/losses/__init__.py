# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Losses: pure functions with one value a row, and ``_Loss`` classes that work in any MONAI training loop."""

from __future__ import annotations

from monai_mmseg.losses.affinity_consistency import AffinityConsistencyLoss, affinity_consistency_loss
from monai_mmseg.losses.class_affinity import class_affinities
from monai_mmseg.losses.cross_entropy import (
    FrequencyWeightedCrossEntropyLoss,
    WeightedCrossEntropyLoss,
    class_weighted_cross_entropy,
    frequency_weighted_cross_entropy,
    weighted_cross_entropy,
)
from monai_mmseg.losses.dice import (
    ClassWeightedSegmentationLoss,
    ForegroundDiceLoss,
    SegmentationLoss,
    SquaredDiceLoss,
    foreground_dice_loss,
    squared_dice_loss,
    squared_foreground_dice,
)
from monai_mmseg.losses.distances import (
    GaussianKLLoss,
    LeastSquaresAdversarialLoss,
    MeanAbsoluteLoss,
    OffsetPenaltyLoss,
    gaussian_kl,
    least_squares_fake,
    least_squares_real,
    mean_absolute,
    mean_squared,
    offset_penalty,
    sum_of_squares,
)
from monai_mmseg.losses.inputs import PerSampleLoss, ReducedLoss, onehot_labels
from monai_mmseg.losses.knowledge_distillation import KnowledgeDistillationLoss, knowledge_distillation_loss
from monai_mmseg.losses.margin import (
    ModalityMarginLoss,
    SubjectMarginLoss,
    anatomy_signature,
    modality_margin,
    subject_margin,
)
from monai_mmseg.losses.masked import group_means, group_sums, mask_samples, masked_mean, mean_of_columns
from monai_mmseg.losses.modality_adversarial import (
    modality_classification,
    modality_confusion,
    pair_discriminator_loss,
    pair_encoder_loss,
)

__all__ = [
    "AffinityConsistencyLoss",
    "ClassWeightedSegmentationLoss",
    "ForegroundDiceLoss",
    "FrequencyWeightedCrossEntropyLoss",
    "GaussianKLLoss",
    "KnowledgeDistillationLoss",
    "LeastSquaresAdversarialLoss",
    "MeanAbsoluteLoss",
    "ModalityMarginLoss",
    "OffsetPenaltyLoss",
    "PerSampleLoss",
    "ReducedLoss",
    "SegmentationLoss",
    "SquaredDiceLoss",
    "SubjectMarginLoss",
    "WeightedCrossEntropyLoss",
    "affinity_consistency_loss",
    "anatomy_signature",
    "class_affinities",
    "class_weighted_cross_entropy",
    "foreground_dice_loss",
    "frequency_weighted_cross_entropy",
    "gaussian_kl",
    "group_means",
    "group_sums",
    "knowledge_distillation_loss",
    "least_squares_fake",
    "least_squares_real",
    "mask_samples",
    "masked_mean",
    "mean_absolute",
    "mean_of_columns",
    "mean_squared",
    "modality_classification",
    "modality_confusion",
    "modality_margin",
    "offset_penalty",
    "onehot_labels",
    "pair_discriminator_loss",
    "pair_encoder_loss",
    "squared_dice_loss",
    "squared_foreground_dice",
    "subject_margin",
    "sum_of_squares",
    "weighted_cross_entropy",
]
