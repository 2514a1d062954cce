# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Soft Dice error pooled over the foreground classes."""

from __future__ import annotations

from monai.utils import LossReduction
from torch import Tensor

from monai_mmseg.losses.inputs import SegmentationPerSampleLoss, at_least_float32, check_same_shape
from monai_mmseg.losses.masked import mask_samples

__all__ = ["ForegroundDiceLoss", "foreground_dice_loss"]


def foreground_dice_loss(probs: Tensor, onehot: Tensor, eps: float = 1e-12, labelled: Tensor | None = None) -> Tensor:
    r"""Soft Dice error per row, with the pixels of all foreground classes in one sum.

    When to use: several organs of different size, some of them absent from a slice. Unlike ``monai.losses.DiceLoss``,
    which averages one Dice per class, an absent organ cannot dominate: the classes share one numerator and one
    denominator,

    .. math:: 1 - \frac{2 \sum_{c>0} \sum p_c t_c + \epsilon}{\sum_{c>0} \sum (p_c + t_c) + \epsilon}.

    A row without any foreground has a loss near 1 while any foreground probability is left, and 0 when none is.

    Args:
        probs: class probabilities, background first, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape.
        eps: keeps the ratio finite; two empty masks agree.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

    Returns:
        Loss of shape ``(N,)`` in [0, 1], at least float32; zero, without gradient, in rows without a label.

    Raises:
        ValueError: when the shapes differ or there is no foreground class.

    Reference:
        Chartsias et al., "Disentangle, align and fuse for multimodal and semi-supervised image segmentation", IEEE TMI
        2020, doi:10.1109/TMI.2020.3036584: the Dice part of L_sup.

    Examples:
        >>> import torch
        >>> onehot = torch.eye(3)[torch.tensor([[0, 1, 2, 2]])].movedim(-1, 1)  # four pixels
        >>> foreground_dice_loss(onehot, onehot)
        tensor([0.])
        >>> foreground_dice_loss(onehot.roll(1, dims=2), onehot)  # one of three foreground pixels hit
        tensor([0.6667])
    """
    check_same_shape("probs", probs, "onehot", onehot, min_dims=3)
    if probs.shape[1] < 2:
        raise ValueError(f"probs must have a background and at least one foreground channel, got {probs.shape[1]}.")
    pred = mask_samples(at_least_float32(probs), labelled, "labelled")[:, 1:].flatten(1)
    true = mask_samples(at_least_float32(onehot).to(pred.dtype), labelled, "labelled")[:, 1:].flatten(1)
    hit, mass = (pred * true).sum(1), pred.sum(1) + true.sum(1)
    # an emptied row has ratio eps / eps = 1, so its loss is 0 already
    return 1 - (2 * hit + eps) / (mass + eps)


class ForegroundDiceLoss(SegmentationPerSampleLoss):
    """Module form of :func:`foreground_dice_loss`, with the arguments of ``monai.losses.DiceLoss``.

    When to use: in any MONAI training loop, in place of ``monai.losses.DiceLoss``.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices, shape ``(N, 1, *spatial)``.
        eps: keeps the ratio finite.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> import torch
        >>> loss = ForegroundDiceLoss(softmax=True, to_onehot_y=True)
        >>> logits = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]])
        >>> round(loss(logits, torch.tensor([[[0, 1]]])).item(), 4)
        0.0
    """

    def __init__(
        self,
        *,
        softmax: bool = False,
        to_onehot_y: bool = False,
        eps: float = 1e-12,
        reduction: LossReduction | str = LossReduction.MEAN,
    ) -> None:
        super().__init__(softmax=softmax, to_onehot_y=to_onehot_y, reduction=reduction)
        self.eps = float(eps)

    def forward(self, pred: Tensor, target: Tensor, labelled: Tensor | None = None) -> Tensor:
        """Returns the reduced loss.

        Args:
            pred: logits or probabilities, shape ``(N, K, *spatial)``.
            target: one-hot labels of the same shape, or class indices ``(N, 1, *spatial)``.
            labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

        Returns:
            Scalar, or shape ``(N,)`` without reduction.
        """
        probs, onehot = self.prepare(pred, target, labelled)
        return self.reduce(foreground_dice_loss(probs, onehot, self.eps, labelled), labelled)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"{super().extra_repr()}, eps={self.eps:.0e}"
