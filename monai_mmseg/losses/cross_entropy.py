# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Cross-entropy with class weights: from the pixels of the batch, in two ways, or given."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from monai_mmseg.losses.inputs import PerSampleLoss, at_least_float32, check_same_shape, mask_unannotated
from monai_mmseg.losses.masked import class_counts, group_sums, mask_samples

EPS = 1e-12  # of Chartsias et al., both under the logarithm and beside the counts
FLOOR = 0.005  # of Dou et al., smallest probability under the logarithm


def class_weights_from_counts(counts: Tensor) -> Tensor:
    """Returns the weight of each class: all pixels over the pixels of the class.

    When to use: with :func:`~monai_mmseg.losses.masked.class_counts`, for the weights of several groups of rows or of
    all processes.

    Args:
        counts: pixels per class, shape ``(..., K)``.

    Returns:
        Weights of the same shape. A class without pixels has an enormous, finite weight, which multiplies nothing.

    Examples:
        >>> class_weights_from_counts(torch.tensor([6.0, 2.0]))
        tensor([1.3333, 4.0000])
    """
    counts = at_least_float32(counts)
    return counts.sum(-1, keepdim=True) / (counts + EPS)


def frequency_weights_from_counts(counts: Tensor) -> Tensor:
    """Returns the weight of each class: one minus its share of the labelled pixels.

    When to use: as :func:`class_weights_from_counts`, where weights shall never exceed one.

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


def weighted_cross_entropy(
    probs: Tensor,
    onehot: Tensor,
    labelled: Tensor | None = None,
    *,
    class_weights: Tensor | None = None,
    swapped: bool = False,
) -> Tensor:
    r"""Cross-entropy per row, averaged over pixels, with rare classes weighted up.

    When to use: beside a Dice loss, when the classes differ much in size. The mean over the rows of a call is

    .. math:: -\frac{1}{n} \sum_{pixels} \sum_c w_c t_c \ln(p_c + 10^{-12}), \quad w_c = \frac{n}{n_c + 10^{-12}}.

    Args:
        probs: class probabilities, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label: they add nothing but count in ``n``.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        class_weights: shape ``(K,)``, or ``(N, K)`` for a weight per row. ``None``: from the labels of the rows of
            this call (of this process; :func:`~monai_mmseg.losses.masked.class_counts` counts over all).
        swapped: exchange the two tensors as the original training code does: weights from the predicted masses (they
            are differentiated), logarithm of the labels. It equals 27.63 times the sum over classes of one minus the
            soft precision: a mild precision loss. Given ``class_weights`` are then those of the predicted masses.

    Returns:
        Loss of shape ``(N,)``, at least float32; zero, without gradient, in rows without a label.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Chartsias et al., IEEE TMI 2020, doi:10.1109/TMI.2020.3036584: the cross-entropy part of L_sup.
        Differs from the paper: nothing; the original code differs from it by ``swapped=True``.

    Examples:
        >>> onehot = torch.eye(2)[torch.tensor([[0, 0, 0, 1]])].movedim(-1, 1)  # four pixels
        >>> weighted_cross_entropy(torch.full_like(onehot, 0.5), onehot)  # K ln K
        tensor([1.3863])
        >>> weighted_cross_entropy(torch.full_like(onehot, 0.5), onehot, swapped=True)  # 27.63 * (1/4 + 3/4)
        tensor([27.6310])
    """
    pred, true = _masked(probs, onehot, labelled)
    weigher, inside = (true, pred) if not swapped else (mask_unannotated(pred, true), true)
    if class_weights is None:
        class_weights = class_weights_from_counts(weigher.flatten(2).sum((0, 2)))
    # a row that was emptied has weigher = 0, so its loss is 0 already
    return _weighted(-(weigher * (inside + EPS).log()), class_weights)


def frequency_weighted_cross_entropy(
    probs: Tensor, onehot: Tensor, labelled: Tensor | None = None, *, class_weights: Tensor | None = None
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
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        class_weights: as in :func:`weighted_cross_entropy`, from :func:`frequency_weights_from_counts`.

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
    pred, true = _masked(probs, onehot, labelled)
    if class_weights is None:
        class_weights = frequency_weights_from_counts(true.flatten(2).sum((0, 2)))
    return _weighted(-(true * pred.clamp(min=FLOOR).log()), class_weights)


def class_weighted_cross_entropy(
    logits: Tensor, onehot: Tensor, labelled: Tensor | None = None, *, class_weights: Sequence[float] | Tensor
) -> Tensor:
    r"""Mean cross-entropy of the pixels of a batch, each weighted by its class.

    When to use: where it is known beforehand how much more a rare class matters. It is ``torch.nn.CrossEntropyLoss``
    with its class weights, :math:`\sum_n w_{y_n} (-\ln p_{y_n}) / \sum_n w_{y_n}`, for batches that are partly labelled
    and spread over processes.

    Args:
        logits: shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        class_weights: K numbers.

    Returns:
        Scalar, at least float32; zero where nothing is labelled.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: weights (1, 5, 5, 5) in the released code.

    Examples:
        >>> onehot = torch.eye(2)[torch.tensor([[0, 0, 0, 1]])].movedim(-1, 1)  # four pixels
        >>> class_weighted_cross_entropy(torch.zeros_like(onehot), onehot, class_weights=[1, 5])  # ln 2
        tensor(0.6931)
    """
    pred, true = _masked(logits, onehot, labelled, "logits")
    weights = torch.as_tensor(class_weights, dtype=pred.dtype, device=pred.device)
    if weights.shape != pred.shape[1:2]:
        raise ValueError(f"class_weights must hold {pred.shape[1]} numbers, got {tuple(weights.shape)}.")
    error = F.cross_entropy(pred, true, weights, reduction="none").flatten(1).sum(1)
    # a product and a sum, not a matrix product: autocast would turn that one into half precision
    sums = group_sums(torch.stack([error, (true.flatten(2).sum(2) * weights).sum(1)], 1))[0]
    # not the smallest number: over it, the gradient of a batch without a label is infinity times zero
    return sums[0] / torch.where(sums[1] > 0, sums[1], 1)


class WeightedCrossEntropyLoss(PerSampleLoss):
    """Module form of :func:`weighted_cross_entropy`.

    When to use: in any MONAI training loop where class frequencies change from batch to batch. With ``labelled``, class
    weights and the mean are those of all processes of a distributed run.

    Args:
        softmax: as of :class:`~monai_mmseg.losses.PerSampleLoss`.
        to_onehot_y: as there.
        swapped: the original code's exchange of the tensors; see :func:`weighted_cross_entropy`.
        reduction: as there.

    Examples:
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
        reduction: str = "mean",
    ) -> None:
        super().__init__(softmax=softmax, to_onehot_y=to_onehot_y, reduction=reduction)
        self.swapped = bool(swapped)

    def per_sample(self, probs: Tensor, onehot: Tensor, labelled: Tensor | None) -> Tensor:
        """Returns one value a row."""
        weights = None
        if labelled is not None:
            masses = mask_unannotated(probs, onehot) if self.swapped else onehot
            counts = class_counts(masses, mask=labelled, differentiable=self.swapped)
            weights = class_weights_from_counts(counts[0])
        return weighted_cross_entropy(probs, onehot, labelled, class_weights=weights, swapped=self.swapped)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"{super().extra_repr()}, swapped={self.swapped}"


class FrequencyWeightedCrossEntropyLoss(PerSampleLoss):
    """Module form of :func:`frequency_weighted_cross_entropy`.

    When to use: as :class:`WeightedCrossEntropyLoss`. Arguments are those of
    :class:`~monai_mmseg.losses.PerSampleLoss`; a class index that is no class is a pixel without a label.

    Examples:
        >>> loss = FrequencyWeightedCrossEntropyLoss(softmax=True, to_onehot_y=True)
        >>> loss(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 0, 1]]]))
        tensor(0.2599)
    """

    partly_labelled = True

    def per_sample(self, probs: Tensor, onehot: Tensor, labelled: Tensor | None) -> Tensor:
        """Returns one value a row."""
        weights = None
        if labelled is not None:
            weights = frequency_weights_from_counts(class_counts(onehot, mask=labelled)[0])
        return frequency_weighted_cross_entropy(probs, onehot, labelled, class_weights=weights)


def _masked(probs: Tensor, onehot: Tensor, labelled: Tensor | None, name: str = "probs") -> tuple[Tensor, Tensor]:
    check_same_shape(name, probs, "onehot", onehot, min_dims=3)
    pred = mask_samples(at_least_float32(probs), labelled, "labelled")
    return pred, mask_samples(at_least_float32(onehot).to(pred.dtype), labelled, "labelled")


def _weighted(error: Tensor, class_weights: Tensor) -> Tensor:
    """Mean over pixels and weighted sum over classes of errors ``(N, K, *spatial)``."""
    if class_weights.shape not in [error.shape[1:2], error.shape[:2]]:
        raise ValueError(
            f"class_weights must have shape {tuple(error.shape[1:2])} or {tuple(error.shape[:2])}, "
            f"got {tuple(class_weights.shape)}."
        )
    return (class_weights.to(error.dtype) * error.flatten(2).mean(2)).sum(1)
