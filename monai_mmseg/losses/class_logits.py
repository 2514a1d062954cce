# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""What a network takes the pixels of each class for, on average, in every modality."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from monai_mmseg.losses.inputs import at_least_float32, onehot_labels
from monai_mmseg.losses.masked import group_sums

EPS = 1e-6  # the original's constant beside the number of pixels


class ClassLogits(NamedTuple):
    """Mean logits of the pixels of every class in every modality: all that the distillation knows of a batch."""

    means: Tensor  # (M, K, K), row = true class; zeros for a class without pixels
    pixels: Tensor  # (M, K), detached
    rows: Tensor  # (M,), how many labelled rows a modality has, detached


def class_logit_sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the logits of each row, summed over the pixels of each class, and the number of these pixels.

    When to use: to collect class means over several batches; then :func:`pool_class_logits`. Linear in the logits, one
    batched matrix product with the one-hot labels.

    Args:
        logits: before the softmax, shape ``(N, K, *spatial)``.
        labels: class indices ``(N, 1, *spatial)``, in which a value that is no class means no label, or one-hot labels
            of the shape of ``logits``.

    Returns:
        Shape ``(N, K, K + 1)``, at least float32: for each true class the sum of the logits, then the pixels.

    Raises:
        ValueError: when the shapes do not fit.

    Examples:
        >>> logits = torch.tensor([[[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]]])  # three pixels
        >>> class_logit_sums(logits, torch.tensor([[[0, 0, 1]]]))
        tensor([[[3., 0., 2.],
                 [3., 5., 1.]]])
    """
    values = at_least_float32(logits)
    if values.ndim < 3:
        raise ValueError(f"logits must have shape (N, K, *spatial), got {tuple(values.shape)}.")
    if labels.shape == values.shape:
        onehot = at_least_float32(labels).to(values.dtype)
    elif labels.shape == (values.shape[0], 1, *values.shape[2:]):
        onehot = onehot_labels(labels, values.shape[1], values.dtype)
    else:
        raise ValueError(
            f"labels must have shape {(values.shape[0], 1, *values.shape[2:])} or {tuple(values.shape)} to fit logits, "
            f"got {tuple(labels.shape)}."
        )
    onehot = onehot.flatten(2)
    # a matrix product under autocast would run in half precision, in which a sum over an image does not fit
    with torch.autocast(device_type=values.device.type, enabled=False):
        sums = torch.bmm(onehot, values.flatten(2).mT)
    return torch.cat([sums, onehot.sum(2, keepdim=True)], dim=2)


def pool_class_logits(
    sums: Tensor,
    modality: Tensor,
    num_modalities: int,
    labelled: Tensor | None = None,
    *,
    differentiable: bool = True,
) -> ClassLogits:
    """Returns the class means of every modality over the rows of all processes, with one collective call.

    Args:
        sums: of :func:`class_logit_sums`, shape ``(N, K, K + 1)``.
        modality: index of each row's modality, shape ``(N,)``.
        num_modalities: number of modalities M.
        labelled: which rows carry a label, bool, shape ``(N,)``. ``None`` means all.
        differentiable: keep the gradient, across processes too.

    Returns:
        Means and counts.

    Raises:
        ValueError: when the shapes do not fit.

    Examples:
        >>> sums = class_logit_sums(torch.ones(2, 2, 4), torch.zeros(2, 1, 4))
        >>> pool_class_logits(sums, torch.tensor([0, 1]), 2).pixels
        tensor([[4., 0.],
                [4., 0.]])
    """
    table = torch.cat([sums.flatten(1), sums.new_ones(sums.shape[0], 1)], dim=1)
    pooled = group_sums(table, modality, num_modalities, labelled, differentiable=differentiable)
    per_class, rows = pooled[:, :-1].unflatten(1, sums.shape[1:]), pooled[:, -1].detach()
    pixels = per_class[..., -1].detach()
    return ClassLogits(per_class[..., :-1] / (pixels[..., None] + EPS), pixels, rows)


def knowledge_matrices(classes: ClassLogits, temperature: float = 2.0) -> Tensor:
    """Returns what each modality takes the pixels of each class for, as softened probabilities.

    When to use: for a look at the classes that a network mixes up in one modality and not in the other.

    Args:
        classes: of :func:`pool_class_logits`.
        temperature: divides the logits; larger is softer.

    Returns:
        Shape ``(M, K, K)``; a row is a true class and sums to one. A class without pixels has a uniform row.

    Reference:
        Dou et al., IEEE TMI 2020, arXiv:2001.03111: Eqs. 2 and 3.

    Examples:
        >>> sums = class_logit_sums(torch.tensor([[[4.0, 0.0], [0.0, 4.0]]]), torch.tensor([[[0, 1]]]))
        >>> knowledge_matrices(pool_class_logits(sums, torch.tensor([0]), 1))
        tensor([[[0.8808, 0.1192],
                 [0.1192, 0.8808]]])
    """
    return (classes.means / temperature).softmax(-1)
