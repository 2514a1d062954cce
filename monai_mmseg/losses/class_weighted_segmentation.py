# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Cross-entropy with given class weights, and the Dice error of the foreground over a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_mmseg.losses.inputs import at_least_float32, check_same_shape
from monai_mmseg.losses.masked import group_sums, mask_samples
from monai_mmseg.losses.onehot import PartlyLabelledLoss
from monai_mmseg.losses.squared_dice import squared_dice_loss

__all__ = ["ClassWeightedSegmentationLoss", "class_weighted_cross_entropy", "squared_foreground_dice"]


def class_weighted_cross_entropy(
    logits: Tensor, onehot: Tensor, class_weights: Sequence[float] | Tensor, labelled: Tensor | None = None
) -> Tensor:
    r"""Mean cross-entropy of the pixels of a batch, each weighted by its class.

    When to use: where it is known beforehand how much more a rare class matters. It is ``torch.nn.CrossEntropyLoss``
    with its class weights, :math:`\sum_n w_{y_n} (-\ln p_{y_n}) / \sum_n w_{y_n}`, for batches that are partly labelled
    and spread over processes.

    Args:
        logits: shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label.
        class_weights: K numbers.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

    Returns:
        Scalar, at least float32; zero where nothing is labelled.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: weights (1, 5, 5, 5) in the released code.

    Examples:
        >>> onehot = torch.eye(2)[torch.tensor([[0, 0, 0, 1]])].movedim(-1, 1)  # four pixels
        >>> class_weighted_cross_entropy(torch.zeros_like(onehot), onehot, [1, 5])  # ln 2
        tensor(0.6931)
    """
    check_same_shape("logits", logits, "onehot", onehot, min_dims=3)
    pred = mask_samples(at_least_float32(logits), labelled, "labelled")
    true = mask_samples(at_least_float32(onehot).to(pred.dtype), labelled, "labelled").flatten(2)
    weights = torch.as_tensor(class_weights, dtype=pred.dtype, device=pred.device)
    if weights.shape != pred.shape[1:2]:
        raise ValueError(f"class_weights must hold {pred.shape[1]} numbers, got {tuple(weights.shape)}.")
    weighted = true * weights[:, None]
    error = -(weighted * pred.log_softmax(1).flatten(2)).sum((1, 2))
    sums = group_sums(torch.stack([error, weighted.sum((1, 2))], 1))[0]
    return sums[0] / sums[1].clamp(min=torch.finfo(pred.dtype).tiny)


def squared_foreground_dice(probs: Tensor, onehot: Tensor, labelled: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    r"""Mean soft Dice error of the foreground classes, squares in the denominator, sums over the pixels of the batch.

    When to use: beside :func:`class_weighted_cross_entropy`. It is :func:`monai_mmseg.losses.squared_dice_loss` of the
    foreground, plus one:

    .. math:: \frac{1}{K-1} \sum_{c > 0} 1 - \frac{2 \sum p_c t_c}{\sum (p_c^2 + t_c) + \epsilon}.

    Args:
        probs: class probabilities, background first, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label and count nowhere.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        eps: keeps the ratio finite.

    Returns:
        Scalar, at least float32. A class without a pixel in the batch adds a constant.

    Raises:
        ValueError: when the shapes do not fit or there is no foreground class.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456, as in the released code; Myronenko, arXiv:1810.11654, Eq. 2.

    Examples:
        >>> onehot = torch.eye(2)[torch.tensor([[0, 0, 1, 1]])].movedim(-1, 1)  # four pixels
        >>> squared_foreground_dice(torch.full_like(onehot, 0.5), onehot)  # 1 - 2 * 1 / (1 + 2)
        tensor(0.3333)
    """
    check_same_shape("probs", probs, "onehot", onehot, min_dims=3)
    if probs.shape[1] < 2:
        raise ValueError(f"probs must have a background and a foreground class, got shape {tuple(probs.shape)}.")
    known = (onehot.sum(1, keepdim=True) > 0) if onehot.dtype != torch.bool else onehot.any(1, keepdim=True)
    pred = torch.where(known, probs[:, 1:], torch.zeros_like(probs[:, 1:]))
    return 1 + squared_dice_loss(pred, onehot[:, 1:], labelled=labelled, eps=eps)[0]


class ClassWeightedSegmentationLoss(PartlyLabelledLoss):
    """Sum of :func:`class_weighted_cross_entropy` and :func:`squared_foreground_dice`, of logits and class indices.

    When to use: in any MONAI training loop, for tumours and other small structures.

    Args:
        class_weights: K numbers, background first.
        eps: keeps the Dice ratio finite.

    Examples:
        >>> loss = ClassWeightedSegmentationLoss((1, 5))
        >>> loss(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))  # ln 2 + 1/3
        tensor(1.0265)
    """

    def __init__(self, class_weights: Sequence[float] = (1, 5, 5, 5), *, eps: float = 1e-6) -> None:
        super().__init__(softmax=False, to_onehot_y=True)
        self.class_weights, self.eps = [float(w) for w in class_weights], float(eps)

    def forward(self, pred: Tensor, target: Tensor, labelled: Tensor | None = None) -> Tensor:
        """Returns the loss of the batch.

        Args:
            pred: logits, shape ``(N, K, *spatial)``.
            target: class indices ``(N, 1, *spatial)``; other values are pixels without a label.
            labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

        Returns:
            Scalar.
        """
        logits, onehot = self.prepare(pred, target, labelled)
        entropy = class_weighted_cross_entropy(logits, onehot, self.class_weights, labelled)
        return entropy + squared_foreground_dice(logits.softmax(1), onehot, labelled, self.eps)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"class_weights={self.class_weights}, eps={self.eps:.0e}"
