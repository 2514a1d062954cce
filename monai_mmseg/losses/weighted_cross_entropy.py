# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Cross-entropy with class weights from the pixels of the batch."""

from __future__ import annotations

from monai.utils import LossReduction
from torch import Tensor

from monai_mmseg.losses.inputs import SegmentationPerSampleLoss, at_least_float32, check_same_shape
from monai_mmseg.losses.masked import class_counts, mask_samples

__all__ = ["WeightedCrossEntropyLoss", "class_weights_from_counts", "weighted_cross_entropy"]

EPS = 1e-12  # the original's constant, both under the logarithm and beside the counts


def class_weights_from_counts(counts: Tensor) -> Tensor:
    """Returns the weight of each class: all pixels over the pixels of the class.

    When to use: with :func:`monai_mmseg.losses.class_counts`, for the weights of several branches or of all processes.

    Args:
        counts: pixels per class, shape ``(..., K)``.

    Returns:
        Weights of the same shape. A class without pixels has an enormous, finite weight, which multiplies nothing.

    Examples:
        >>> import torch
        >>> class_weights_from_counts(torch.tensor([6.0, 2.0]))
        tensor([1.3333, 4.0000])
    """
    counts = at_least_float32(counts)
    return counts.sum(-1, keepdim=True) / (counts + EPS)


def weighted_cross_entropy(
    probs: Tensor,
    onehot: Tensor,
    class_weights: Tensor | None = None,
    swapped: bool = False,
    labelled: Tensor | None = None,
) -> Tensor:
    r"""Cross-entropy per row, averaged over pixels, with rare classes weighted up.

    When to use: beside a Dice loss, when the classes differ much in size. The mean over the rows of a call is

    .. math:: -\frac{1}{n} \sum_{pixels} \sum_c w_c t_c \ln(p_c + 10^{-12}), \quad w_c = \frac{n}{n_c + 10^{-12}}.

    Args:
        probs: class probabilities, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape.
        class_weights: shape ``(K,)``, or ``(N, K)`` for a weight per row. ``None``: from the labels of the rows of
            this call (of this process; :func:`monai_mmseg.losses.class_counts` counts over all).
        swapped: exchange the two arguments as the original training code does: weights from the predicted masses (they
            are differentiated), logarithm of the labels. It equals 27.63 times the sum over classes of one minus the
            soft precision: a mild precision loss. Given ``class_weights`` are then those of the predicted masses.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

    Returns:
        Loss of shape ``(N,)``, at least float32; zero, without gradient, in rows without a label.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Chartsias et al., IEEE TMI 2020, doi:10.1109/TMI.2020.3036584: the cross-entropy part of L_sup.
        Differs from the paper: nothing; the original code differs from it by ``swapped=True``.

    Examples:
        >>> import torch
        >>> onehot = torch.eye(2)[torch.tensor([[0, 0, 0, 1]])].movedim(-1, 1)  # four pixels
        >>> weighted_cross_entropy(torch.full_like(onehot, 0.5), onehot)  # K ln K
        tensor([1.3863])
        >>> weighted_cross_entropy(torch.full_like(onehot, 0.5), onehot, swapped=True)  # 27.63 * (1/4 + 3/4)
        tensor([27.6310])
    """
    check_same_shape("probs", probs, "onehot", onehot, min_dims=3)
    pred = mask_samples(at_least_float32(probs), labelled, "labelled")
    true = mask_samples(at_least_float32(onehot).to(pred.dtype), labelled, "labelled")
    weigher, inside = (pred, true) if swapped else (true, pred)
    if class_weights is None:
        class_weights = class_weights_from_counts(weigher.flatten(2).sum((0, 2)))
    elif class_weights.shape not in [probs.shape[1:2], probs.shape[:2]]:
        raise ValueError(
            f"class_weights must have shape {tuple(probs.shape[1:2])} or {tuple(probs.shape[:2])}, "
            f"got {tuple(class_weights.shape)}."
        )
    # a row that was emptied has weigher = 0, so its loss is 0 already
    per_class = -(weigher * (inside + EPS).log()).flatten(2).mean(2)
    return (class_weights.to(pred.dtype) * per_class).sum(1)


class WeightedCrossEntropyLoss(SegmentationPerSampleLoss):
    """Module form of :func:`weighted_cross_entropy`, with the arguments of ``monai.losses.DiceLoss``.

    When to use: in any MONAI training loop where class frequencies change from batch to batch. With ``labelled``, class
    weights and the mean are those of all processes of a distributed run.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices, shape ``(N, 1, *spatial)``.
        swapped: the original code's exchange of the arguments; see :func:`weighted_cross_entropy`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> import torch
        >>> loss = WeightedCrossEntropyLoss(softmax=True, to_onehot_y=True)
        >>> loss(torch.zeros(1, 3, 2, 2), torch.tensor([[[[0, 1], [2, 2]]]]))  # 3 ln 3
        tensor(3.2958)
    """

    def __init__(
        self,
        *,
        softmax: bool = False,
        to_onehot_y: bool = False,
        swapped: bool = False,
        reduction: LossReduction | str = LossReduction.MEAN,
    ) -> None:
        super().__init__(softmax=softmax, to_onehot_y=to_onehot_y, reduction=reduction)
        self.swapped = bool(swapped)

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
        return self.reduce(self.rows(probs, onehot, labelled), labelled)

    def rows(self, probs: Tensor, onehot: Tensor, labelled: Tensor | None) -> Tensor:
        """Returns one value a row.

        Args:
            probs: class probabilities, shape ``(N, K, *spatial)``.
            onehot: one-hot labels of the same shape.
            labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

        Returns:
            Loss of shape ``(N,)``.
        """
        weights = None
        if labelled is not None:
            counts = class_counts(probs if self.swapped else onehot, mask=labelled, differentiable=self.swapped)
            weights = class_weights_from_counts(counts[0])
        return weighted_cross_entropy(probs, onehot, weights, self.swapped, labelled)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"{super().extra_repr()}, swapped={self.swapped}"
