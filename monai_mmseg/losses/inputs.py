# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""What every loss does with its arguments before the mathematics: precision, shapes, one-hot labels, reduction."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from monai_mmseg.losses.masked import mask_samples, masked_mean
from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.unannotated import UNANNOTATED

TOLERANCE = 1e-3
"""How far from [0, 1] rounding may bring a probability."""

NEVER = -1e9
"""Logit of a class that cannot be: finite, since infinity times zero is no number."""


def at_least_float32(values: Tensor) -> Tensor:
    """Returns a plain tensor, in float32 when it was narrower: sums over pixels do not fit in half precision.

    A ``MetaTensor`` loses its meta data, which every operation of a loss would copy.

    Args:
        values: any tensor.

    Returns:
        Tensor of the same shape; float64 stays.

    Examples:
        >>> at_least_float32(torch.zeros(1, dtype=torch.float16)).dtype
        torch.float32
    """
    plain: Tensor = plain_tensor(values)
    return plain.to(torch.promote_types(plain.dtype, torch.float32))


def can_be_read(values: Tensor) -> bool:
    """Whether a check may look at numbers: that would make a GPU wait, and cut a compiled graph.

    Args:
        values: any tensor.

    Examples:
        >>> can_be_read(torch.zeros(1)), can_be_read(torch.zeros(0))
        (True, False)
    """
    return values.device.type == "cpu" and values.numel() > 0 and not torch.compiler.is_compiling()


def check_same_shape(first_name: str, first: Tensor, second_name: str, second: Tensor, *, min_dims: int = 1) -> None:
    """Raises an error unless both tensors have one shape of at least ``min_dims`` dimensions.

    Args:
        first_name: how the caller's signature names the first tensor.
        first: first tensor.
        second_name: how the caller's signature names the second tensor.
        second: second tensor.
        min_dims: smallest number of dimensions.

    Raises:
        ValueError: when they differ or are too flat.

    Examples:
        >>> check_same_shape("probs", torch.zeros(1, 2), "onehot", torch.zeros(1, 3))
        Traceback (most recent call last):
        ValueError: probs and onehot must have one shape, got (1, 2) and (1, 3).
    """
    if first.shape != second.shape:
        raise ValueError(
            f"{first_name} and {second_name} must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    if first.ndim < min_dims:
        raise ValueError(f"{first_name} must have at least {min_dims} dimensions, got shape {tuple(first.shape)}.")


def mask_unannotated(values: Tensor, onehot: Tensor) -> Tensor:
    """Zeros where no class is given: what a prediction says there must reach neither value nor gradient of a loss.

    Args:
        values: of the prediction, shape ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape; pixels of zeros have no label.

    Returns:
        Tensor of the shape of ``values``; equal to it where every pixel has a label.

    Examples:
        >>> mask_unannotated(torch.tensor([[[0.3, 0.6]]]), torch.tensor([[[1.0, 0.0]]]))
        tensor([[[0.3000, 0.0000]]])
    """
    return torch.where(onehot.bool().any(1, keepdim=True), values, values.new_zeros(()))


def merge_unknown_classes(logits: Tensor, unknown: Tensor) -> Tensor:
    r"""Logits of what a label can tell apart: classes that nobody drew are part of the background.

    When to use: before any loss, where labels of a batch show different sets of classes. The softmax of the result has
    :math:`p_0 + \sum_{c \in U} p_c` as the background and 0 for the unknown classes :math:`U`; neither is pushed
    anywhere by a label that does not show them.

    Args:
        logits: of all classes, background first, shape ``(N, K, *spatial)``.
        unknown: classes that the label of a row does not show, bool, shape ``(N, K)``; never the background.

    Returns:
        Logits of the same shape; rows without an unknown class are as they were.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Shi et al., Medical Image Analysis 2021, arXiv:2007.03868: marginal loss.

    Examples:
        >>> probs = torch.tensor([[[0.5], [0.2], [0.3]]])  # one pixel, three classes
        >>> merge_unknown_classes(probs.log(), torch.tensor([[False, False, True]])).softmax(1).flatten()
        tensor([0.8000, 0.2000, 0.0000])
    """
    if unknown.shape != logits.shape[:2] or unknown.dtype != torch.bool:
        raise ValueError(
            f"unknown must be bool of shape {tuple(logits.shape[:2])}, got {unknown.dtype} of {tuple(unknown.shape)}."
        )
    gone = unknown.to(logits.device, non_blocking=True).reshape(*unknown.shape, *[1] * (logits.ndim - 2))
    behind = gone.clone()
    behind[:, 0] = True
    background = logits.masked_fill(~behind, -torch.inf).logsumexp(1, keepdim=True)
    return torch.cat([background, logits.masked_fill(gone, NEVER)[:, 1:]], 1)


def without_unknown_background(label: Tensor, unknown: Tensor) -> Tensor:
    """Labels in which the background of rows with unknown classes is not annotated: any of those may be there.

    When to use: for what is computed of the regions of classes, such as distilled knowledge.

    Args:
        label: class indices, shape ``(N, 1, *spatial)``.
        unknown: as for :func:`merge_unknown_classes`.

    Returns:
        Labels of the same shape, 255 there.

    Examples:
        >>> labels = torch.tensor([[[0, 1]], [[0, 1]]])
        >>> without_unknown_background(labels, torch.tensor([[False] * 3, [False, False, True]]))
        tensor([[[  0,   1]],
                [[255,   1]]])
    """
    partly = unknown.to(label.device, non_blocking=True).any(1).reshape(-1, *[1] * (label.ndim - 1))
    return label.masked_fill(partly & (label == 0), UNANNOTATED)


def onehot_labels(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns one-hot labels; a whole number that is no class gives a pixel of zeros, which no class sum counts.

    When to use: for labels with pixels that nobody annotated, 255 in this project; so is any value that is no class.
    ``monai.networks.utils.one_hot`` refuses those.

    Args:
        labels: class indices, integers or whole floating-point numbers, shape ``(N, 1, *spatial)``.
        num_classes: number of classes K, background included.
        dtype: of the result.

    Returns:
        Shape ``(N, K, *spatial)``.

    Raises:
        ValueError: when the labels have no channel axis of size 1, or (on a CPU) are fractions.

    Examples:
        >>> onehot_labels(torch.tensor([[[0, 2, 255]]]), 3)
        tensor([[[1., 0., 0.],
                 [0., 0., 0.],
                 [0., 1., 0.]]])
    """
    if labels.ndim < 3 or labels.shape[1] != 1:
        raise ValueError(f"labels must hold class indices of shape (N, 1, *spatial), got shape {tuple(labels.shape)}.")
    plain = plain_tensor(labels)
    if plain.is_floating_point() and can_be_read(plain) and bool((part := plain % 1 > 0).any()):
        raise ValueError(
            f"labels must hold whole numbers, got {float(plain[part][0]):g}: interpolate them by the nearest "
            "neighbour, or give one-hot labels."
        )
    classes = torch.arange(num_classes, device=plain.device).view(1, -1, *[1] * (plain.ndim - 2))
    onehot: Tensor = plain == classes
    return onehot.to(dtype)


class ReducedLoss(_Loss):
    """Base of the losses with one value a row: the reduction, over the rows that a mask selects.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row). The mean over rows that a mask selects goes
            through :func:`monai_mmseg.losses.masked_mean`, so it is right in distributed training too; without a mask
            it is a plain local mean, as in ``monai.losses``.

    Raises:
        ValueError: when the reduction is another word.

    Examples:
        >>> ReducedLoss(reduction="sum").reduce(torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
        tensor(1.)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        word = str(getattr(reduction, "value", reduction))
        if word not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")
        super().__init__(reduction=word)

    def reduce(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the rows ``(N,)`` (zero outside of the mask ``(N,)``), their sum or their mean."""
        if self.reduction == "mean":
            return values.mean() if mask is None else masked_mean(values, mask)
        values = mask_samples(values, mask)
        return values.sum() if self.reduction == "sum" else values

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"reduction={self.reduction!r}"


class PerSampleLoss(ReducedLoss):
    """Base of the losses between class probabilities and labels, with the arguments of ``monai.losses.DiceLoss``.

    Call it with ``pred`` (logits or probabilities ``(N, K, *spatial)``), ``target`` (one-hot labels of the same shape,
    or class indices ``(N, 1, *spatial)``) and optionally ``labelled``, a bool mask ``(N,)`` of the rows that carry a
    label; it gives a scalar, or shape ``(N,)`` without reduction. A subclass writes :meth:`per_sample`.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices.
        reduction: see :class:`ReducedLoss`.

    Raises:
        ValueError: in a call, when the target does not fit the prediction, or (on a CPU) the prediction holds logits
            where probabilities are meant.

    Examples:
        >>> loss = PerSampleLoss(softmax=True, to_onehot_y=True)
        >>> probs, onehot = loss.prepare(torch.zeros(1, 2, 1, 2), torch.tensor([[[[0, 1]]]]), None)
        >>> probs.flatten().tolist(), onehot.flatten().tolist()
        ([0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 1.0])
    """

    partly_labelled: ClassVar[bool] = False  # any index that is no class means no label; else 255 alone does
    of_logits: ClassVar[bool] = False  # what is computed of the prediction wants logits

    def __init__(
        self,
        *,
        softmax: bool = False,
        to_onehot_y: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.softmax, self.to_onehot_y = bool(softmax), bool(to_onehot_y)

    def forward(self, pred: Tensor, target: Tensor, labelled: Tensor | None = None) -> Tensor:
        """Returns the reduced loss."""
        return self.reduce(self.per_sample(*self.prepare(pred, target, labelled), labelled), labelled)

    def per_sample(self, probs: Tensor, onehot: Tensor, labelled: Tensor | None) -> Tensor:
        """Returns one value a row, shape ``(N,)``, of what :meth:`prepare` gave."""
        raise NotImplementedError(f"{type(self).__name__} must write per_sample.")

    def prepare(self, pred: Tensor, target: Tensor, labelled: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns probabilities and one-hot labels, at least float32; rows without a label are zero in both."""
        # before the softmax: its derivative at NaN is NaN, whatever comes back
        pred = mask_samples(at_least_float32(pred), labelled, "labelled")
        target = mask_samples(at_least_float32(target), labelled, "labelled")
        if not self.softmax and not self.of_logits:
            _check_probabilities(pred)
        probs = pred.softmax(1) if self.softmax else pred
        if self.to_onehot_y:
            if not self.partly_labelled:
                _check_class_indices(target, probs)
            target = onehot_labels(target, probs.shape[1], probs.dtype)
        check_same_shape("pred", probs, "target", target, min_dims=3)
        return probs, target.to(probs.dtype)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"softmax={self.softmax}, to_onehot_y={self.to_onehot_y}, {super().extra_repr()}"


def _check_probabilities(pred: Tensor) -> None:
    if can_be_read(pred):
        low, high = (float(v) for v in pred.detach().aminmax())
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            raise ValueError(
                f"pred must hold probabilities, got numbers from {low:g} to {high:g}; softmax=True takes logits."
            )


def _check_class_indices(target: Tensor, probs: Tensor) -> None:
    if target.shape != (probs.shape[0], 1, *probs.shape[2:]):
        wanted = (probs.shape[0], 1, *probs.shape[2:])
        raise ValueError(f"target must hold class indices of shape {wanted}, got shape {tuple(target.shape)}.")
    if can_be_read(target):
        known = torch.where(target == UNANNOTATED, torch.zeros_like(target), target)
        low, high = (float(v) for v in known.aminmax())
        if not (low >= 0 and high < probs.shape[1]):  # nor NaN
            raise ValueError(f"target must hold classes 0 to {probs.shape[1] - 1}, got {low:g} to {high:g}.")
