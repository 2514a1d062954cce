# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Dice as the original code of the representation disentanglement counts it."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_mmseg.losses.inputs import at_least_float32, onehot_labels


def original_dice(probs: Tensor, labels: Tensor, threshold: float = 0.5) -> Tensor:
    """Mean Dice score of the foreground classes of each row, with one pixel added to both sides of the ratio.

    When to use: to compare with published numbers of the original code. Else use
    :func:`monai_mmseg.metrics.segmentation_scores`, in which the size of the image does not change the score.

    Args:
        probs: probabilities of the foreground classes, **without** the background, shape ``(N, K - 1, *spatial)``. A
            pixel may belong to several classes or none.
        labels: class indices, 0 is background, shape ``(N, 1, *spatial)``.
        threshold: above it a pixel belongs to the class.

    Returns:
        Scores of shape ``(N,)``: 1 where prediction and label are empty.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456, Table 2: enhancing tumour, oedema and necrosis.

    Examples:
        >>> original_dice(torch.tensor([[[0.9, 0.9, 0.1]]]), torch.tensor([[[1, 0, 0]]]))  # (2 * 1 + 1) / (2 + 1 + 1)
        tensor([0.7500])
    """
    if (
        labels.ndim != probs.ndim
        or labels.shape[1] != 1
        or labels.shape[2:] != probs.shape[2:]
        or len(labels) != len(probs)
    ):
        raise ValueError(
            f"probs and labels must have shapes (N, K - 1, *spatial) and (N, 1, *spatial), got {tuple(probs.shape)} "
            f"and {tuple(labels.shape)}."
        )
    pred = (at_least_float32(probs) > threshold).flatten(2)
    true = onehot_labels(labels, probs.shape[1] + 1, torch.bool)[:, 1:].flatten(2)
    both, areas = (pred & true).sum(2), pred.sum(2) + true.sum(2)
    return ((2 * both + 1) / (areas + 1)).mean(1)
