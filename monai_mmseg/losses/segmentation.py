# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Supervised segmentation losses: a Dice error plus a cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

from monai.utils import LossReduction
from torch import Tensor

from monai_mmseg.losses.cross_entropy import (
    WeightedCrossEntropyLoss,
    class_weighted_cross_entropy,
    class_weights_from_counts,
    weighted_cross_entropy,
)
from monai_mmseg.losses.dice import foreground_dice_loss, squared_foreground_dice
from monai_mmseg.losses.inputs import PerSampleLoss
from monai_mmseg.losses.masked import class_counts

__all__ = ["ClassWeightedSegmentationLoss", "SegmentationLoss", "segmentation_loss"]

CE_WEIGHT = 0.01  # of the original code


def segmentation_loss(
    probs: Tensor,
    onehot: Tensor,
    labelled: Tensor | None = None,
    *,
    group: Tensor,
    num_groups: int,
    swapped: bool = False,
) -> Tensor:
    """Foreground Dice error plus 0.01 times the weighted cross-entropy per row, with class weights of each group.

    When to use: in objectives, where rows of several modalities, or of pairs of them, are scored in one call.

    Args:
        probs: class probabilities, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        group: the group of each row, integers in ``[0, num_groups)``, shape ``(N,)``.
        num_groups: number of groups; each has class weights from its pixels, of all processes.
        swapped: as in :func:`monai_mmseg.losses.weighted_cross_entropy`.

    Returns:
        Loss of shape ``(N,)``, at least float32; zero, without gradient, in rows without a label.

    Raises:
        ValueError: when the shapes do not fit.

    Examples:
        >>> import torch
        >>> onehot = torch.eye(2)[torch.tensor([[0, 1], [0, 1]])].movedim(-1, 1)  # two rows of two pixels
        >>> segmentation_loss(torch.full_like(onehot, 0.5), onehot, group=torch.tensor([0, 1]), num_groups=2)
        tensor([0.5139, 0.5139])
    """
    counts = class_counts(probs if swapped else onehot, group, num_groups, labelled, differentiable=swapped)
    weights = class_weights_from_counts(counts)[group]
    entropy = weighted_cross_entropy(probs, onehot, labelled, class_weights=weights, swapped=swapped)
    return foreground_dice_loss(probs, onehot, labelled) + CE_WEIGHT * entropy


class SegmentationLoss(WeightedCrossEntropyLoss):
    """Foreground Dice error plus ``ce_weight`` times the weighted cross-entropy.

    When to use: as the one supervised loss of a segmentation network in any MONAI loop; several organs, rare classes,
    and subjects without a label in the batch.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices, shape ``(N, 1, *spatial)``.
        ce_weight: weight of the cross-entropy; the paper leaves it open, the original code has 0.01.
        swapped: the original code's exchange of the tensors of the cross-entropy; see
            :func:`monai_mmseg.losses.weighted_cross_entropy`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Reference:
        Chartsias et al., IEEE TMI 2020, doi:10.1109/TMI.2020.3036584: L_sup without its factor 10, which belongs to the
        objective.

    Examples:
        >>> import torch
        >>> loss = SegmentationLoss(softmax=True, to_onehot_y=True)
        >>> loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[[0, 1]]]]))  # 1 - 2 * 0.5 / 2 + 0.01 * 2 ln 2
        tensor(0.5139)
    """

    def __init__(
        self,
        *,
        softmax: bool = False,
        to_onehot_y: bool = False,
        ce_weight: float = CE_WEIGHT,
        swapped: bool = False,
        reduction: LossReduction | str = LossReduction.MEAN,
    ) -> None:
        super().__init__(softmax=softmax, to_onehot_y=to_onehot_y, swapped=swapped, reduction=reduction)
        if not ce_weight >= 0:
            raise ValueError(f"ce_weight must not be negative, got {ce_weight}.")
        self.ce_weight = float(ce_weight)

    def per_sample(self, probs: Tensor, onehot: Tensor, labelled: Tensor | None) -> Tensor:
        """Returns one value a row."""
        dice = foreground_dice_loss(probs, onehot, labelled)
        return dice + self.ce_weight * super().per_sample(probs, onehot, labelled)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"{super().extra_repr()}, ce_weight={self.ce_weight:g}"


class ClassWeightedSegmentationLoss(PerSampleLoss):
    """Sum of the class-weighted cross-entropy and the squared foreground Dice, of logits and class indices.

    When to use: in any MONAI training loop, for tumours and other small structures. Call it with logits
    ``(N, K, *spatial)``, class indices ``(N, 1, *spatial)`` in which other values are pixels without a label, and
    optionally ``labelled (N,)``; it gives a scalar. See :func:`monai_mmseg.losses.class_weighted_cross_entropy` and
    :func:`monai_mmseg.losses.squared_foreground_dice`.

    Args:
        class_weights: K numbers, background first.

    Examples:
        >>> import torch
        >>> loss = ClassWeightedSegmentationLoss((1, 5))
        >>> loss(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))  # ln 2 + 1/3
        tensor(1.0265)
    """

    partly_labelled = True

    def __init__(self, class_weights: Sequence[float] = (1, 5, 5, 5)) -> None:
        super().__init__(to_onehot_y=True)
        self.class_weights = [float(w) for w in class_weights]

    def forward(self, pred: Tensor, target: Tensor, labelled: Tensor | None = None) -> Tensor:
        """Returns the loss of the batch."""
        logits, onehot = self.prepare(pred, target, labelled)
        entropy = class_weighted_cross_entropy(logits, onehot, labelled, class_weights=self.class_weights)
        return entropy + squared_foreground_dice(logits.softmax(1), onehot, labelled)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"class_weights={self.class_weights}"
