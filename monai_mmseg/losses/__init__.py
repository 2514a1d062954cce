# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Losses: pure functions with one value a row, and ``_Loss`` classes that work in any MONAI training loop."""

from __future__ import annotations

from monai_mmseg.losses.foreground_dice import ForegroundDiceLoss, foreground_dice_loss
from monai_mmseg.losses.gaussian_kl import GaussianKLLoss, gaussian_kl
from monai_mmseg.losses.inputs import RowLoss, SegmentationRowLoss
from monai_mmseg.losses.least_squares_adversarial import (
    LeastSquaresAdversarialLoss,
    least_squares_fake,
    least_squares_real,
)
from monai_mmseg.losses.masked import branch_means, class_counts, global_count, keep_rows, masked_mean
from monai_mmseg.losses.offset_penalty import OffsetPenaltyLoss, offset_penalty
from monai_mmseg.losses.reconstruction import MeanAbsoluteLoss, mean_absolute
from monai_mmseg.losses.segmentation import SegmentationLoss
from monai_mmseg.losses.weighted_cross_entropy import (
    WeightedCrossEntropyLoss,
    class_weights_from_counts,
    weighted_cross_entropy,
)

__all__ = [
    "ForegroundDiceLoss",
    "GaussianKLLoss",
    "LeastSquaresAdversarialLoss",
    "MeanAbsoluteLoss",
    "OffsetPenaltyLoss",
    "RowLoss",
    "SegmentationLoss",
    "SegmentationRowLoss",
    "WeightedCrossEntropyLoss",
    "branch_means",
    "class_counts",
    "class_weights_from_counts",
    "foreground_dice_loss",
    "gaussian_kl",
    "global_count",
    "keep_rows",
    "least_squares_fake",
    "least_squares_real",
    "masked_mean",
    "mean_absolute",
    "offset_penalty",
    "weighted_cross_entropy",
]
