# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""The Dice score of the paper's tables: all foreground classes in one sum."""

from __future__ import annotations

from torch import Tensor

from monai_mmseg.losses.dice import foreground_dice_loss
from monai_mmseg.losses.inputs import TOLERANCE


def pooled_dice(probs: Tensor, onehot: Tensor, *, binarise: bool = True) -> Tensor:
    """Dice score of each row, with the pixels of all foreground classes in one sum.

    When to use: to compare with the published numbers, which are means of this score over a subject's slices. Scores of
    single organs come from ``monai.metrics.DiceMetric(ignore_empty=False)`` or
    :func:`monai_mmseg.metrics.segmentation_scores`.

    Args:
        probs: class probabilities, background first, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape.
        binarise: round each probability first, as the original evaluation does (a pixel may then belong to no class).

    Returns:
        Scores of shape ``(N,)``: 1 when both are empty, 0 when one is.

    Raises:
        ValueError: when the shapes differ, there is no foreground class, or ``probs`` are logits.

    Reference:
        Chartsias et al., IEEE TMI 2020, doi:10.1109/TMI.2020.3036584, section V.
        Differs from the paper: nothing; it says "average across all labels" for what its code pools.

    Examples:
        >>> import torch
        >>> onehot = torch.eye(2)[torch.tensor([[0, 1, 1]])].movedim(-1, 1)  # three pixels
        >>> pooled_dice(torch.tensor([[[0.9, 0.9, 0.2], [0.1, 0.1, 0.8]]]), onehot)
        tensor([0.6667])
    """
    probs = probs.detach()
    low, high = map(float, probs.aminmax()) if probs.numel() else (0.0, 1.0)
    if not (low > -TOLERANCE and high < 1 + TOLERANCE):  # nor NaN
        raise ValueError(f"probs must hold probabilities, got numbers from {low:g} to {high:g}; apply a softmax first.")
    return 1 - foreground_dice_loss(probs.round() if binarise else probs, onehot)
