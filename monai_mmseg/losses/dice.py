# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Soft Dice, of each row with all organs in one sum or over a whole batch, alone and with a cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_mmseg.losses.cross_entropy import (
    WeightedCrossEntropyLoss,
    class_weighted_cross_entropy,
    class_weights_from_counts,
    weighted_cross_entropy,
)
from monai_mmseg.losses.inputs import PerSampleLoss, at_least_float32, check_same_shape, mask_unannotated
from monai_mmseg.losses.masked import class_counts, group_sums, mask_samples

EPS = 1e-12  # of a row's Dice, beside numerator and denominator: two empty masks agree
CE_WEIGHT = 0.01  # of the original code


def foreground_dice_loss(probs: Tensor, onehot: Tensor, labelled: Tensor | None = None) -> Tensor:
    r"""Soft Dice error per row, with the pixels of all foreground classes in one sum.

    When to use: several organs of different size, some of them absent from a slice. Unlike ``monai.losses.DiceLoss``,
    which averages one Dice per class, an absent organ cannot dominate: the classes share one numerator and one
    denominator,

    .. math:: 1 - \frac{2 \sum_{c>0} \sum p_c t_c + \epsilon}{\sum_{c>0} \sum (p_c + t_c) + \epsilon}.

    A row without any foreground has a loss near 1 while any foreground probability is left, and 0 when none is.

    Args:
        probs: class probabilities, background first, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label and count nowhere.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

    Returns:
        Loss of shape ``(N,)`` in [0, 1], at least float32; zero, without gradient, in rows without a label.

    Raises:
        ValueError: when the shapes differ or there is no foreground class.

    Reference:
        Chartsias et al., "Disentangle, align and fuse for multimodal and semi-supervised image segmentation", IEEE TMI
        2020, doi:10.1109/TMI.2020.3036584: the Dice part of L_sup.

    Examples:
        >>> onehot = torch.eye(3)[torch.tensor([[0, 1, 2, 2]])].movedim(-1, 1)  # four pixels
        >>> foreground_dice_loss(onehot, onehot)
        tensor([0.])
        >>> foreground_dice_loss(onehot.roll(1, dims=2), onehot)  # one of three foreground pixels hit
        tensor([0.6667])
    """
    _check(probs, onehot)
    pred = mask_unannotated(mask_samples(at_least_float32(probs), labelled, "labelled"), onehot)[:, 1:].flatten(1)
    true = mask_samples(at_least_float32(onehot).to(pred.dtype), labelled, "labelled")[:, 1:].flatten(1)
    # written out: MONAI's DiceLoss sums in another order, and trainings would not repeat to the bit
    hit, mass = (pred * true).sum(1), pred.sum(1) + true.sum(1)
    # an emptied row has ratio eps / eps = 1, so its loss is 0 already
    return 1 - (2 * hit + EPS) / (mass + EPS)


def squared_dice_loss(
    probs: Tensor,
    onehot: Tensor,
    labelled: Tensor | None = None,
    *,
    group: Tensor | None = None,
    num_groups: int = 1,
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
        onehot: one-hot labels of the same shape; pixels of zeros have no label. What is predicted there counts as mass,
            as in the original code; :func:`~monai_mmseg.losses.inputs.mask_unannotated` takes it away.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        group: the group of each row (its modality), integers in ``[0, num_groups)``, shape ``(N,)``. ``None`` puts all
            rows in group 0.
        num_groups: number of groups.
        eps: keeps the ratio finite.

    Returns:
        One value for each group, shape ``(num_groups,)``, at least float32; zero for a group without rows. In a
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
    hit, mass = group_sums(sums, group, num_groups).unbind(1)
    return -(2 * hit / (mass + eps)).mean(1)


def squared_foreground_dice(probs: Tensor, onehot: Tensor, labelled: Tensor | None = None) -> Tensor:
    r"""Mean soft Dice error of the foreground classes, squares in the denominator, sums over the pixels of the batch.

    When to use: beside :func:`monai_mmseg.losses.class_weighted_cross_entropy`. It is :func:`squared_dice_loss` of the
    foreground, plus one, with :math:`\epsilon = 10^{-6}`:

    .. math:: \frac{1}{K-1} \sum_{c > 0} 1 - \frac{2 \sum p_c t_c}{\sum (p_c^2 + t_c) + \epsilon}.

    Args:
        probs: class probabilities, background first, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label and count nowhere.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

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
    _check(probs, onehot)
    return 1 + squared_dice_loss(mask_unannotated(probs, onehot)[:, 1:], onehot[:, 1:], labelled, eps=1e-6)[0]


class ForegroundDiceLoss(PerSampleLoss):
    """Module form of :func:`foreground_dice_loss`.

    When to use: in any MONAI training loop, in place of ``monai.losses.DiceLoss``. Arguments are those of
    :class:`~monai_mmseg.losses.PerSampleLoss`.

    Examples:
        >>> loss = ForegroundDiceLoss(softmax=True, to_onehot_y=True)
        >>> logits = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]])
        >>> round(loss(logits, torch.tensor([[[0, 1]]])).item(), 4)
        0.0
    """

    def per_sample(self, probs: Tensor, onehot: Tensor, labelled: Tensor | None) -> Tensor:
        """Returns one value a row."""
        return foreground_dice_loss(probs, onehot, labelled)


class SquaredDiceLoss(PerSampleLoss):
    """Module form of :func:`squared_dice_loss` for one group of rows.

    When to use: in any MONAI training loop. The result is a scalar: the sums run over the batch.

    Args:
        softmax: as of :class:`~monai_mmseg.losses.PerSampleLoss`.
        to_onehot_y: as there; a class index that is no class is a pixel without a label.

    Examples:
        >>> loss = SquaredDiceLoss(softmax=True, to_onehot_y=True)
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[0, 0, 1, 1]]]]))
        tensor(-0.6667)
    """

    partly_labelled = True

    def __init__(self, *, softmax: bool = False, to_onehot_y: bool = False) -> None:
        super().__init__(softmax=softmax, to_onehot_y=to_onehot_y)

    def forward(self, pred: Tensor, target: Tensor, labelled: Tensor | None = None) -> Tensor:
        """Returns the loss of the batch."""
        return squared_dice_loss(*self.prepare(pred, target, labelled), labelled).squeeze(0)


def _check(probs: Tensor, onehot: Tensor) -> None:
    check_same_shape("probs", probs, "onehot", onehot, min_dims=3)
    if probs.shape[1] < 2:
        raise ValueError(f"probs must have a background and at least one foreground channel, got {probs.shape[1]}.")


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
        onehot: one-hot labels of the same shape; pixels of zeros have no label.
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
    counts = class_counts(
        mask_unannotated(probs, onehot) if swapped else onehot, group, num_groups, labelled, differentiable=swapped
    )
    weights = class_weights_from_counts(counts)[group]
    dice = foreground_dice_loss(probs, onehot, labelled)
    return dice + CE_WEIGHT * weighted_cross_entropy(probs, onehot, labelled, class_weights=weights, swapped=swapped)


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
        reduction: str = "mean",
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

    partly_labelled = of_logits = True

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
