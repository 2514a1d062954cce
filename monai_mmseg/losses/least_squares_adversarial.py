# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Least-squares adversarial losses: real is 1, generated is 0."""

from __future__ import annotations

from torch import Tensor

from monai_mmseg.losses.inputs import PerSampleLoss, at_least_float32
from monai_mmseg.losses.masked import mask_samples

__all__ = ["LeastSquaresAdversarialLoss", "least_squares_fake", "least_squares_real"]


def least_squares_real(score: Tensor) -> Tensor:
    """Squared distance of each row's score from 1, the mark of real data.

    When to use: for real data in the discriminator's step, and for generated data in the generator's. Per row, so that
    a batch of several modalities can be weighted or masked; else ``monai.losses.PatchAdversarialLoss`` serves.

    Args:
        score: discriminator output, shape ``(N, ...)``; further dimensions (patches) are averaged.

    Returns:
        Loss of shape ``(N,)``, at least float32.

    Reference:
        Mao et al., "Least squares generative adversarial networks", ICCV 2017, doi:10.1109/ICCV.2017.304; without the
        factor one half, as in the code of Chartsias et al., IEEE TMI 2020.

    Examples:
        >>> import torch
        >>> least_squares_real(torch.tensor([[1.0], [0.0], [-1.0]]))
        tensor([0., 1., 4.])
    """
    return _mean_square(at_least_float32(score) - 1)


def least_squares_fake(score: Tensor) -> Tensor:
    """Squared distance of each row's score from 0, the mark of generated data.

    When to use: for generated data in the discriminator's step.

    Args:
        score: discriminator output, shape ``(N, ...)``; further dimensions (patches) are averaged.

    Returns:
        Loss of shape ``(N,)``, at least float32.

    Examples:
        >>> import torch
        >>> least_squares_fake(torch.tensor([[1.0], [0.0], [-1.0]]))
        tensor([1., 0., 1.])
    """
    return _mean_square(at_least_float32(score))


class LeastSquaresAdversarialLoss(PerSampleLoss):
    """Module form of :func:`least_squares_real` and :func:`least_squares_fake`.

    Call it with scores ``(N, ...)``, ``target_is_real``: whether they should be those of real data (also in the
    generator's step), and a mask ``(N,)`` of the rows that count.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> import torch
        >>> loss = LeastSquaresAdversarialLoss()
        >>> loss(torch.tensor([[0.5]]), target_is_real=True)
        tensor(0.2500)
    """

    def forward(self, pred: Tensor, target_is_real: bool, mask: Tensor | None = None) -> Tensor:
        """Returns the reduced loss."""
        score = mask_samples(pred, mask)
        return self.reduce(least_squares_real(score) if target_is_real else least_squares_fake(score), mask)


def _mean_square(distance: Tensor) -> Tensor:
    if distance.ndim < 1:
        raise ValueError("score must have rows, shape (N, ...), got a scalar.")
    rows = distance.square()
    return rows.flatten(1).mean(1) if rows.ndim > 1 else rows  # flatten, unlike reshape, takes zero rows
