# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Losses: pure functions with one value a row, and ``_Loss`` classes that work in any MONAI training loop."""

from __future__ import annotations

from monai_mmseg.losses.affinity_consistency import (
    AffinityConsistencyLoss,
    affinity_consistency_loss,
    affinity_distance,
)
from monai_mmseg.losses.class_affinity import Affinities, class_affinities, resize_class_masks
from monai_mmseg.losses.class_logits import ClassLogits, class_logit_sums, knowledge_matrices, pool_class_logits
from monai_mmseg.losses.class_weighted_segmentation import (
    ClassWeightedSegmentationLoss,
    class_weighted_cross_entropy,
    squared_foreground_dice,
)
from monai_mmseg.losses.foreground_dice import ForegroundDiceLoss, foreground_dice_loss
from monai_mmseg.losses.frequency_weighted_cross_entropy import (
    FrequencyWeightedCrossEntropyLoss,
    frequency_weighted_cross_entropy,
    frequency_weights_from_counts,
)
from monai_mmseg.losses.gaussian_kl import GaussianKLLoss, gaussian_kl
from monai_mmseg.losses.inputs import PerSampleLoss, SegmentationPerSampleLoss
from monai_mmseg.losses.knowledge_distillation import (
    KnowledgeDistillationLoss,
    knowledge_distance,
    knowledge_distillation_loss,
)
from monai_mmseg.losses.least_squares_adversarial import (
    LeastSquaresAdversarialLoss,
    least_squares_fake,
    least_squares_real,
)
from monai_mmseg.losses.margin import (
    ModalityMarginLoss,
    SubjectMarginLoss,
    anatomy_signature,
    modality_margin,
    subject_margin,
)
from monai_mmseg.losses.masked import (
    class_counts,
    global_count,
    group_means,
    group_sums,
    mask_samples,
    masked_mean,
    mean_of_columns,
)
from monai_mmseg.losses.modality_adversarial import (
    Confusion,
    modality_classification,
    modality_confusion,
    pair_discriminator_loss,
    pair_encoder_loss,
)
from monai_mmseg.losses.offset_penalty import OffsetPenaltyLoss, offset_penalty
from monai_mmseg.losses.onehot import PartlyLabelledLoss, onehot_labels
from monai_mmseg.losses.reconstruction import MeanAbsoluteLoss, mean_absolute, mean_squared
from monai_mmseg.losses.segmentation import SegmentationLoss
from monai_mmseg.losses.squared_dice import SquaredDiceLoss, squared_dice_loss
from monai_mmseg.losses.sum_of_squares import sum_of_squares
from monai_mmseg.losses.weighted_cross_entropy import (
    WeightedCrossEntropyLoss,
    class_weights_from_counts,
    weighted_cross_entropy,
)

__all__ = [
    "Affinities",
    "AffinityConsistencyLoss",
    "ClassLogits",
    "ClassWeightedSegmentationLoss",
    "Confusion",
    "ForegroundDiceLoss",
    "FrequencyWeightedCrossEntropyLoss",
    "GaussianKLLoss",
    "KnowledgeDistillationLoss",
    "LeastSquaresAdversarialLoss",
    "MeanAbsoluteLoss",
    "ModalityMarginLoss",
    "OffsetPenaltyLoss",
    "PartlyLabelledLoss",
    "PerSampleLoss",
    "SegmentationLoss",
    "SegmentationPerSampleLoss",
    "SquaredDiceLoss",
    "SubjectMarginLoss",
    "WeightedCrossEntropyLoss",
    "affinity_consistency_loss",
    "affinity_distance",
    "anatomy_signature",
    "class_affinities",
    "class_counts",
    "class_logit_sums",
    "class_weighted_cross_entropy",
    "class_weights_from_counts",
    "foreground_dice_loss",
    "frequency_weighted_cross_entropy",
    "frequency_weights_from_counts",
    "gaussian_kl",
    "global_count",
    "group_means",
    "group_sums",
    "knowledge_distance",
    "knowledge_distillation_loss",
    "knowledge_matrices",
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
    "pool_class_logits",
    "resize_class_masks",
    "squared_dice_loss",
    "squared_foreground_dice",
    "subject_margin",
    "sum_of_squares",
    "weighted_cross_entropy",
]
