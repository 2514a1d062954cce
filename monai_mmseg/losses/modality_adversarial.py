# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Adversarial losses between modalities: can one tell from a code which modality it was made of?"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from monai_mmseg.losses.inputs import at_least_float32, can_be_read
from monai_mmseg.losses.masked import mask_samples, masked_mean


def modality_classification(logits: Tensor, modality: Tensor) -> Tensor:
    """Cross-entropy per row of a classifier that names the modality.

    When to use: in the step of the classifier, on codes that are detached.

    Args:
        logits: shape ``(N, M)``.
        modality: index of each row, integers ``(N,)``.

    Returns:
        Loss of shape ``(N,)``, at least float32.

    Raises:
        ValueError: when the shapes do not fit, or (on a CPU) a modality is none of them.

    Examples:
        >>> modality_classification(torch.zeros(2, 4), torch.tensor([0, 3]))  # ln 4
        tensor([1.3863, 1.3863])
    """
    _check(logits, modality)
    return F.cross_entropy(at_least_float32(logits), modality, reduction="none")


def modality_confusion(logits: Tensor, modality: Tensor) -> Tensor:
    r"""How sure a classifier is of the modality, per row: what the encoder of a code minimises.

    When to use: in the step of the encoder, against the classifier of :func:`modality_classification`. It is
    :math:`-\ln(1 - p_m)`, the probability of any other modality; of two modalities it is the cross-entropy with the
    wrong one, and its gradient is largest where the classifier is sure.

    Args:
        logits: shape ``(N, M)``.
        modality: index of each row, integers ``(N,)``.

    Returns:
        Loss of shape ``(N,)``, never negative, at least float32; zero for one modality.

    Raises:
        ValueError: when the shapes do not fit, or (on a CPU) a modality is none of them.

    Examples:
        >>> sure = torch.tensor([[4.0, 0.0]])
        >>> modality_confusion(sure, torch.tensor([0])), modality_confusion(sure, torch.tensor([1]))
        (tensor([4.0181]), tensor([0.0181]))
    """
    _check(logits, modality)
    values = at_least_float32(logits)
    count = values.shape[1]
    if count == 1:
        return values.sum(1) * 0
    own = F.one_hot(modality, count).bool()
    return values.logsumexp(1) - values.masked_fill(own, -math.inf).logsumexp(1)


def pair_discriminator_loss(first: Tensor, second: Tensor, present: Tensor | None = None) -> Tensor:
    r"""What the released code's discriminator minimises for one pair of modalities.

    When to use: to repeat the released two-modality variant; for any number of modalities, see
    :func:`modality_classification`. With the binary cross-entropy of logits:
    :math:`\frac12 (\langle BCE(d_i, 0) \rangle + \langle BCE(d_j, 1) \rangle)`.

    Args:
        first: logits of the codes of the first modality, shape ``(B, 1)`` or ``(B,)``.
        second: those of the second.
        present: which of the two a row has, bool ``(B, 2)``. ``None`` means all.

    Returns:
        Scalar; a modality without rows adds zero.

    Raises:
        ValueError: when the shapes do not fit.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: the baseline "+Adv".

    Examples:
        >>> pair_discriminator_loss(torch.zeros(2, 1), torch.zeros(2, 1))  # ln 2
        tensor(0.6931)
    """
    return _pair(first, second, (0.0, 1.0), present)


def pair_encoder_loss(first: Tensor, second: Tensor, present: Tensor | None = None) -> Tensor:
    r"""What the released code's encoder minimises against :func:`pair_discriminator_loss`.

    When to use: to repeat the released two-modality variant. It is
    :math:`\frac12 (\langle BCE(d_i, 1) \rangle + \langle BCE(d_j, 1) \rangle)`: the second modality has the same
    target as in the discriminator's step.

    Args:
        first: as in :func:`pair_discriminator_loss`.
        second: as there.
        present: as there.

    Returns:
        Scalar; a modality without rows adds zero.

    Raises:
        ValueError: when the shapes do not fit.

    Examples:
        >>> pair_encoder_loss(torch.tensor([[20.0]]), torch.tensor([[20.0]])).round()
        tensor(0.)
    """
    return _pair(first, second, (1.0, 1.0), present)


def _pair(first: Tensor, second: Tensor, targets: tuple[float, float], present: Tensor | None) -> Tensor:
    if first.shape != second.shape or first.ndim not in (1, 2) or first.shape[1:].numel() != 1:
        raise ValueError(
            f"first and second must hold one logit a row, shape (B, 1), got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    rows = first.shape[0]
    if present is not None and (present.shape != (rows, 2) or present.dtype != torch.bool):
        raise ValueError(
            f"present must be bool of shape ({rows}, 2), got {present.dtype} of shape {tuple(present.shape)}."
        )
    total = at_least_float32(first).new_zeros(())
    for column, (logits, target) in enumerate(zip((first, second), targets, strict=True)):
        mask = None if present is None else present[:, column].to(logits.device)
        values = mask_samples(at_least_float32(logits).reshape(rows), mask)
        loss = F.binary_cross_entropy_with_logits(values, torch.full_like(values, target), reduction="none")
        total = total + 0.5 * masked_mean(loss, mask)
    return total


def _check(logits: Tensor, modality: Tensor) -> None:
    if logits.ndim != 2 or modality.shape != logits.shape[:1]:
        raise ValueError(
            f"logits and modality must have shapes (N, M) and (N,), got {tuple(logits.shape)} and "
            f"{tuple(modality.shape)}."
        )
    if modality.dtype != torch.int64:
        raise ValueError(f"modality must be torch.int64, got {modality.dtype}.")
    count = logits.shape[1]
    if can_be_read(modality) and (int(modality.min()) < 0 or int(modality.max()) >= count):
        raise ValueError(f"modality must hold numbers from 0 to {count - 1}, got {sorted(set(modality.tolist()))}.")
