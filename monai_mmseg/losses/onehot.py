# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""One-hot labels in which a pixel may have no label at all."""

from __future__ import annotations

import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_mmseg.losses.inputs import SegmentationPerSampleLoss, at_least_float32

__all__ = ["PartlyLabelledLoss", "onehot_labels"]


def onehot_labels(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns one-hot labels; a value that is no class gives a pixel of zeros, which no class sum counts.

    When to use: for labels with pixels that nobody annotated, marked with a negative value or one of ``num_classes`` or
    more (255, -1). ``monai.networks.utils.one_hot`` refuses those.

    Args:
        labels: class indices, integers or whole floating-point numbers, shape ``(N, 1, *spatial)``.
        num_classes: number of classes K, background included.
        dtype: of the result.

    Returns:
        Shape ``(N, K, *spatial)``.

    Raises:
        ValueError: when the labels have no channel axis of size 1.

    Examples:
        >>> onehot_labels(torch.tensor([[[0, 2, 255]]]), 3)
        tensor([[[1., 0., 0.],
                 [0., 0., 0.],
                 [0., 1., 0.]]])
    """
    if labels.ndim < 3 or labels.shape[1] != 1:
        raise ValueError(f"labels must hold class indices of shape (N, 1, *spatial), got shape {tuple(labels.shape)}.")
    plain = labels.as_tensor() if isinstance(labels, MetaTensor) else labels
    classes = torch.arange(num_classes, device=plain.device).view(1, -1, *[1] * (plain.ndim - 2))
    onehot: Tensor = plain == classes
    return onehot.to(dtype)


class PartlyLabelledLoss(SegmentationPerSampleLoss):
    """Base of the losses in which pixels may have no label; the arguments of ``monai.losses.DiceLoss``.

    Args:
        softmax: the prediction holds logits: apply a softmax.
        to_onehot_y: the target holds class indices, shape ``(N, 1, *spatial)``, in which every value that is no class
            means no label.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> loss = PartlyLabelledLoss(to_onehot_y=True)
        >>> loss.prepare(torch.zeros(1, 2, 3), torch.tensor([[[0, 1, -1]]]), None)[1].tolist()
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """

    def onehot(self, target: Tensor, probs: Tensor) -> Tensor:
        """Returns one-hot labels, with zeros where there is no label.

        Args:
            target: class indices, shape ``(N, 1, *spatial)``.
            probs: what they must fit, shape ``(N, K, *spatial)``.

        Returns:
            One-hot labels of the shape of ``probs``.
        """
        return onehot_labels(at_least_float32(target), probs.shape[1], probs.dtype)
