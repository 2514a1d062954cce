# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""What every loss does with its arguments before the mathematics: precision, shapes, one-hot labels, reduction."""

from __future__ import annotations

import torch
from monai.data import MetaTensor
from monai.networks.utils import one_hot
from monai.utils import LossReduction
from torch import Tensor
from torch.nn.modules.loss import _Loss

from monai_mmseg.losses.masked import mask_samples, masked_mean

__all__ = ["PerSampleLoss", "SegmentationPerSampleLoss", "at_least_float32", "check_same_shape"]


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
    plain: Tensor = values.as_tensor() if isinstance(values, MetaTensor) else values
    return plain.to(torch.promote_types(plain.dtype, torch.float32))


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


class PerSampleLoss(_Loss):
    """Base of the losses that give one value a row, with MONAI's ``reduction``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row). The mean over rows that a mask selects goes
            through :func:`monai_mmseg.losses.masked_mean`, so it is right in distributed training too; without a mask
            it is a plain local mean, as in ``monai.losses``.

    Examples:
        >>> PerSampleLoss(reduction="sum").reduce(torch.tensor([1.0, 2.0]))
        tensor(3.)
    """

    def __init__(self, *, reduction: LossReduction | str = LossReduction.MEAN) -> None:
        super().__init__(reduction=LossReduction(reduction).value)

    def reduce(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the rows, their sum or their mean, as ``reduction`` says.

        Args:
            values: one value a row, shape ``(N,)``.
            mask: rows that count, bool, shape ``(N,)``. ``None`` means all.

        Returns:
            Tensor of shape ``(N,)`` (rows outside of the mask are zero) or a scalar.
        """
        if self.reduction == LossReduction.MEAN.value:
            return values.mean() if mask is None else masked_mean(values, mask)
        values = mask_samples(values, mask)
        return values.sum() if self.reduction == LossReduction.SUM.value else values

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"reduction={self.reduction!r}"


class SegmentationPerSampleLoss(PerSampleLoss):
    """Base of the losses between class probabilities and labels, with the arguments of ``monai.losses.DiceLoss``.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices, shape ``(N, 1, *spatial)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> loss = SegmentationPerSampleLoss(softmax=True, to_onehot_y=True)
        >>> probs, onehot = loss.prepare(torch.zeros(1, 2, 1, 2), torch.tensor([[[[0, 1]]]]), None)
        >>> probs.flatten().tolist(), onehot.flatten().tolist()
        ([0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 1.0])
    """

    def __init__(
        self,
        *,
        softmax: bool = False,
        to_onehot_y: bool = False,
        reduction: LossReduction | str = LossReduction.MEAN,
    ) -> None:
        super().__init__(reduction=reduction)
        self.softmax = bool(softmax)
        self.to_onehot_y = bool(to_onehot_y)

    def prepare(self, pred: Tensor, target: Tensor, labelled: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns probabilities and one-hot labels of shape ``(N, K, *spatial)``; rows without a label are zero.

        Args:
            pred: logits or probabilities, shape ``(N, K, *spatial)``.
            target: one-hot labels of the same shape, or class indices ``(N, 1, *spatial)`` with ``to_onehot_y``.
            labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.

        Returns:
            Probabilities and one-hot labels, at least float32.

        Raises:
            ValueError: when the target does not fit the prediction.
        """
        # before the softmax: its derivative at NaN is NaN, whatever comes back
        pred = mask_samples(at_least_float32(pred), labelled, "labelled")
        target = mask_samples(at_least_float32(target), labelled, "labelled")
        probs = pred.softmax(1) if self.softmax else pred
        if self.to_onehot_y:
            target = self.onehot(target, probs)
        check_same_shape("pred", probs, "target", target, min_dims=3)
        return probs, target.to(probs.dtype)

    def onehot(self, target: Tensor, probs: Tensor) -> Tensor:
        """Returns one-hot labels of class indices; losses that allow pixels without a label write their own.

        Args:
            target: class indices, shape ``(N, 1, *spatial)``.
            probs: what they must fit, shape ``(N, K, *spatial)``.

        Returns:
            One-hot labels of the shape of ``probs``.
        """
        _check_class_indices(target, probs)
        labels: Tensor = one_hot(target, num_classes=probs.shape[1], dtype=probs.dtype)
        return labels

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"softmax={self.softmax}, to_onehot_y={self.to_onehot_y}, {super().extra_repr()}"


def _check_class_indices(target: Tensor, probs: Tensor) -> None:
    if target.shape != (probs.shape[0], 1, *probs.shape[2:]):
        wanted = (probs.shape[0], 1, *probs.shape[2:])
        raise ValueError(f"target must hold class indices of shape {wanted}, got shape {tuple(target.shape)}.")
    # reading the range would make a GPU wait
    if target.device.type == "cpu" and target.numel() > 0:
        low, high = (float(v) for v in target.aminmax())
        if low < 0 or high >= probs.shape[1]:
            raise ValueError(f"target must hold classes 0 to {probs.shape[1] - 1}, got {low:g} to {high:g}.")
