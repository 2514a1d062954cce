# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Supervised segmentation loss: Dice error plus a little cross-entropy."""

from __future__ import annotations

from monai.utils import LossReduction
from torch import Tensor

from monai_mmseg.losses.foreground_dice import foreground_dice_loss
from monai_mmseg.losses.weighted_cross_entropy import WeightedCrossEntropyLoss

__all__ = ["SegmentationLoss"]


class SegmentationLoss(WeightedCrossEntropyLoss):
    """Foreground Dice error plus ``ce_weight`` times the weighted cross-entropy.

    When to use: as the one supervised loss of a segmentation network in any MONAI loop; several organs, rare classes,
    and subjects without a label in the batch.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices, shape ``(N, 1, *spatial)``.
        ce_weight: weight of the cross-entropy; the paper leaves it open, the original code has 0.01.
        swapped: the original code's exchange of the arguments of the cross-entropy; see
            :func:`monai_mmseg.losses.weighted_cross_entropy`.
        eps: keeps the Dice ratio finite.
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
        ce_weight: float = 0.01,
        swapped: bool = False,
        eps: float = 1e-12,
        reduction: LossReduction | str = LossReduction.MEAN,
    ) -> None:
        super().__init__(softmax=softmax, to_onehot_y=to_onehot_y, swapped=swapped, reduction=reduction)
        if not ce_weight >= 0:
            raise ValueError(f"ce_weight must not be negative, got {ce_weight}.")
        self.ce_weight = float(ce_weight)
        self.eps = float(eps)

    def rows(self, probs: Tensor, onehot: Tensor, labelled: Tensor | None) -> Tensor:
        """Returns one value a row.

        Args:
            probs: class probabilities, shape ``(N, K, *spatial)``.
            onehot: one-hot labels of the same shape.
            labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

        Returns:
            Loss of shape ``(N,)``.
        """
        dice = foreground_dice_loss(probs, onehot, self.eps, labelled)
        return dice + self.ce_weight * super().rows(probs, onehot, labelled)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"{super().extra_repr()}, ce_weight={self.ce_weight:g}, eps={self.eps:.0e}"
