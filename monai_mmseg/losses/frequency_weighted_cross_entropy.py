# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Cross-entropy with class weights of one minus the frequency, and a floor under the probability."""

from __future__ import annotations

import torch
from monai.utils import LossReduction
from torch import Tensor

from monai_mmseg.losses.inputs import at_least_float32, check_same_shape
from monai_mmseg.losses.masked import class_counts, mask_samples
from monai_mmseg.losses.onehot import PartlyLabelledLoss

__all__ = ["FrequencyWeightedCrossEntropyLoss", "frequency_weighted_cross_entropy", "frequency_weights_from_counts"]


def frequency_weights_from_counts(counts: Tensor) -> Tensor:
    """Returns the weight of each class: one minus its share of the labelled pixels.

    When to use: with :func:`monai_mmseg.losses.class_counts`, for the weights of several modalities or of all
    processes. Unlike :func:`monai_mmseg.losses.class_weights_from_counts` the weights never exceed one.

    Args:
        counts: pixels per class, shape ``(..., K)``.

    Returns:
        Weights of the same shape, in [0, 1]. All are one where there is no pixel.

    Examples:
        >>> frequency_weights_from_counts(torch.tensor([[6.0, 2.0], [0.0, 0.0]]))
        tensor([[0.2500, 0.7500],
                [1.0000, 1.0000]])
    """
    counts = at_least_float32(counts)
    return 1 - counts / counts.sum(-1, keepdim=True).clamp(min=torch.finfo(counts.dtype).tiny)


def frequency_weighted_cross_entropy(
    probs: Tensor,
    onehot: Tensor,
    class_weights: Tensor | None = None,
    labelled: Tensor | None = None,
    floor: float = 0.005,
) -> Tensor:
    r"""Cross-entropy per row, averaged over pixels, with frequent classes weighted down.

    When to use: beside a Dice loss, when one class (the background) fills most of the image. The mean over the rows of
    a call is

    .. math:: -\frac{1}{n} \sum_{pixels} \sum_c w_c t_c \ln \max(p_c, 0.005), \quad w_c = 1 - n_c / \sum_c n_c.

    Below the floor there is no gradient: a pixel that is hopelessly wrong is left to the Dice loss. A batch of a single
    class has the loss zero. Pixels without a label add nothing but count in ``n``.

    Args:
        probs: class probabilities, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label.
        class_weights: shape ``(K,)``, or ``(N, K)`` for a weight per row. ``None``: from the labels of the rows of
            this call (of this process; :func:`monai_mmseg.losses.class_counts` counts over all).
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        floor: smallest probability under the logarithm.

    Returns:
        Loss of shape ``(N,)``, at least float32; zero, without gradient, in rows without a label.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020, arXiv:2001.03111: the
        cross-entropy part of L_seg. Differs from the paper: the floor, which is the original code's.

    Examples:
        >>> onehot = torch.eye(2)[torch.tensor([[0, 0, 0, 1]])].movedim(-1, 1)  # four pixels
        >>> frequency_weighted_cross_entropy(torch.full_like(onehot, 0.5), onehot)  # (3 * 1/4 + 1 * 3/4) / 4 * ln 2
        tensor([0.2599])
    """
    check_same_shape("probs", probs, "onehot", onehot, min_dims=3)
    pred = mask_samples(at_least_float32(probs), labelled, "labelled")
    true = mask_samples(at_least_float32(onehot).to(pred.dtype), labelled, "labelled")
    if class_weights is None:
        class_weights = frequency_weights_from_counts(true.flatten(2).sum((0, 2)))
    elif class_weights.shape not in [probs.shape[1:2], probs.shape[:2]]:
        raise ValueError(
            f"class_weights must have shape {tuple(probs.shape[1:2])} or {tuple(probs.shape[:2])}, "
            f"got {tuple(class_weights.shape)}."
        )
    per_class = -(true * pred.clamp(min=floor).log()).flatten(2).mean(2)
    return (class_weights.to(pred.dtype) * per_class).sum(1)


class FrequencyWeightedCrossEntropyLoss(PartlyLabelledLoss):
    """Module form of :func:`frequency_weighted_cross_entropy`, with the arguments of ``monai.losses.DiceLoss``.

    When to use: in any MONAI training loop where class frequencies change from batch to batch. With ``labelled``, class
    weights and the mean are those of all processes of a distributed run.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices, shape ``(N, 1, *spatial)``; a value that is no class is a pixel
            without a label.
        floor: smallest probability under the logarithm.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Raises:
        ValueError: when the floor is not in (0, 1).

    Examples:
        >>> loss = FrequencyWeightedCrossEntropyLoss(softmax=True, to_onehot_y=True)
        >>> loss(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 0, 1]]]))
        tensor(0.2599)
    """

    def __init__(
        self,
        *,
        softmax: bool = False,
        to_onehot_y: bool = False,
        floor: float = 0.005,
        reduction: LossReduction | str = LossReduction.MEAN,
    ) -> None:
        super().__init__(softmax=softmax, to_onehot_y=to_onehot_y, reduction=reduction)
        if not 0 < floor < 1:
            raise ValueError(f"floor must lie between 0 and 1, got {floor}.")
        self.floor = float(floor)

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
        weights = None
        if labelled is not None:
            weights = frequency_weights_from_counts(class_counts(onehot, mask=labelled)[0])
        return self.reduce(frequency_weighted_cross_entropy(probs, onehot, weights, labelled, self.floor), labelled)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"{super().extra_repr()}, floor={self.floor:g}"
