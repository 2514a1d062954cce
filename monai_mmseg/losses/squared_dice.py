# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Soft Dice over a whole batch, with the prediction squared in the denominator."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_mmseg.losses.inputs import at_least_float32, check_same_shape
from monai_mmseg.losses.masked import group_sums, mask_samples
from monai_mmseg.losses.onehot import PartlyLabelledLoss

__all__ = ["SquaredDiceLoss", "squared_dice_loss"]


def squared_dice_loss(
    probs: Tensor,
    onehot: Tensor,
    branch: Tensor | None = None,
    num_branches: int = 1,
    labelled: Tensor | None = None,
    eps: float = 1e-7,
) -> Tensor:
    r"""Minus the mean soft Dice of all classes, background included, in one sum over the pixels of the batch.

    When to use: as the Dice part of a method that trains several modalities at once. Sums over the batch keep a class
    that is absent from single slices from making the loss jump. For one group of rows it is

    .. math:: -\frac{1}{K} \sum_c \frac{2 \sum p_c t_c}{\sum p_c^2 + \sum t_c + \epsilon}.

    It lies in (-1, 0]. A class without a pixel in the group adds nothing, value or gradient, so the smallest value is
    minus the share of classes that are there. One more than it is ``monai.losses.DiceLoss(squared_pred=True,
    batch=True, smooth_nr=0, smooth_dr=1e-7)`` of the group.

    Args:
        probs: class probabilities, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label.
        branch: the group of each row (its modality), integers in ``[0, num_branches)``, shape ``(N,)``. ``None`` puts
            all rows in group 0.
        num_branches: number of groups.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        eps: keeps the ratio finite.

    Returns:
        One value for each group, shape ``(num_branches,)``, at least float32; zero for a group without rows. In a
        distributed run the groups are those of all processes.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020, arXiv:2001.03111: the
        Dice part of L_seg.

    Examples:
        >>> onehot = torch.eye(2)[torch.tensor([[0, 0, 1, 1]])].movedim(-1, 1)  # four pixels
        >>> squared_dice_loss(onehot, onehot)
        tensor([-1.])
        >>> squared_dice_loss(torch.full_like(onehot, 0.5), onehot)  # 2 * 1 / (1 + 2)
        tensor([-0.6667])
    """
    check_same_shape("probs", probs, "onehot", onehot, min_dims=3)
    pred = mask_samples(at_least_float32(probs), labelled, "labelled").flatten(2)
    true = mask_samples(at_least_float32(onehot).to(pred.dtype), labelled, "labelled").flatten(2)
    sums = torch.stack([(pred * true).sum(2), pred.square().sum(2) + true.sum(2)], dim=1)
    hit, mass = group_sums(sums, branch, num_branches).unbind(1)
    return -(2 * hit / (mass + eps)).mean(1)


class SquaredDiceLoss(PartlyLabelledLoss):
    """Module form of :func:`squared_dice_loss` for one group of rows, with the arguments of ``monai.losses.DiceLoss``.

    When to use: in any MONAI training loop. The result is a scalar: the sums run over the batch.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices, shape ``(N, 1, *spatial)``; a value that is no class is a pixel
            without a label.
        eps: keeps the ratio finite.

    Examples:
        >>> loss = SquaredDiceLoss(softmax=True, to_onehot_y=True)
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[0, 0, 1, 1]]]]))
        tensor(-0.6667)
    """

    def __init__(self, *, softmax: bool = False, to_onehot_y: bool = False, eps: float = 1e-7) -> None:
        super().__init__(softmax=softmax, to_onehot_y=to_onehot_y)
        self.eps = float(eps)

    def forward(self, pred: Tensor, target: Tensor, labelled: Tensor | None = None) -> Tensor:
        """Returns the loss of the batch.

        Args:
            pred: logits or probabilities, shape ``(N, K, *spatial)``.
            target: one-hot labels of the same shape, or class indices ``(N, 1, *spatial)``.
            labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

        Returns:
            Scalar.
        """
        probs, onehot = self.prepare(pred, target, labelled)
        return squared_dice_loss(probs, onehot, labelled=labelled, eps=self.eps).squeeze(0)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"softmax={self.softmax}, to_onehot_y={self.to_onehot_y}, eps={self.eps:.0e}"
