# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Distances with one value a row: of codes from a distribution, images from images, scores from a mark, and L2.

Reduce the functions by :func:`monai_mmseg.losses.masked_mean` or :func:`monai_mmseg.losses.group_means`; where some
rows must not count, call :func:`monai_mmseg.losses.mask_samples` on the arguments first, so that NaN in them reaches no
gradient. The classes do both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from monai_mmseg.losses.inputs import ReducedLoss, at_least_float32, check_same_shape
from monai_mmseg.losses.masked import mask_samples


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of N(mu, exp(logvar)) from N(0, I), summed over dimensions.

    When to use: as the prior of a style code,

    .. math:: -\tfrac12 \sum_d (1 + \log\sigma_d^2 - \mu_d^2 - \sigma_d^2).

    Args:
        mu: means, shape ``(N, D)``.
        logvar: logarithms of the variances, same shape.

    Returns:
        Loss of shape ``(N,)``, never negative, zero only at ``mu = logvar = 0``; at least float32.

    Raises:
        ValueError: when the shapes differ.

    Reference:
        Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, appendix B, arXiv:1312.6114.

    Examples:
        >>> gaussian_kl(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.zeros(2, 2))
        tensor([ 0.0000, 12.5000])
    """
    check_same_shape("mu", mu, "logvar", logvar, min_dims=2)
    mu, logvar = at_least_float32(mu), at_least_float32(logvar)
    # expm1 keeps the small difference exp(v) - 1 - v exact, so that the sum does not turn negative near zero
    return 0.5 * (mu.square() + logvar.expm1() - logvar).flatten(1).sum(1)


def mean_absolute(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference per row.

    When to use: image reconstruction and the recovery of a sampled style code, where rows (subjects, modalities,
    candidate pairs) are weighted or masked; else ``torch.nn.L1Loss`` serves.

    Args:
        a: shape ``(N, ...)``.
        b: same shape.

    Returns:
        Loss of shape ``(N,)``, at least float32.

    Raises:
        ValueError: when the shapes differ.

    Reference:
        Chartsias et al., IEEE TMI 2020, doi:10.1109/TMI.2020.3036584: L_rec and L_rec^z.
        Differs from the paper: means in place of norms, as in the original code.

    Examples:
        >>> mean_absolute(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2))
        tensor([2., 0.])
    """
    return _row_means(_difference(a, b).abs())


def mean_squared(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference per row.

    When to use: as :func:`mean_absolute`, where large errors shall count more; else ``torch.nn.MSELoss`` serves.

    Args:
        a: shape ``(N, ...)``.
        b: same shape.

    Returns:
        Loss of shape ``(N,)``, at least float32.

    Raises:
        ValueError: when the shapes differ.

    Examples:
        >>> mean_squared(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2))
        tensor([5., 0.])
    """
    return _row_means(_difference(a, b).square())


def least_squares_real(score: Tensor) -> Tensor:
    """Squared distance of each row's score from 1, the mark of real data.

    When to use: for real data in the discriminator's step, and for generated data in the generator's. Per row, so that
    a batch of several modalities can be weighted or masked; else ``monai.losses.PatchAdversarialLoss`` serves.

    Args:
        score: discriminator output, shape ``(N, ...)``; further dimensions (patches) are averaged.

    Returns:
        Loss of shape ``(N,)``, at least float32.

    Raises:
        ValueError: when ``score`` has no rows.

    Reference:
        Mao et al., "Least squares generative adversarial networks", ICCV 2017, doi:10.1109/ICCV.2017.304; without the
        factor one half, as in the code of Chartsias et al., IEEE TMI 2020.

    Examples:
        >>> least_squares_real(torch.tensor([[1.0], [0.0], [-1.0]]))
        tensor([0., 1., 4.])
    """
    return _mean_square(at_least_float32(score) - 1)


def least_squares_fake(score: Tensor) -> Tensor:
    """Squared distance of each row's score from 0, the mark of generated data.

    When to use: for generated data in the discriminator's step.

    Args:
        score: as in :func:`least_squares_real`.

    Returns:
        Loss of shape ``(N,)``, at least float32.

    Raises:
        ValueError: when ``score`` has no rows.

    Examples:
        >>> least_squares_fake(torch.tensor([[1.0], [0.0], [-1.0]]))
        tensor([1., 0., 1.])
    """
    return _mean_square(at_least_float32(score))


def offset_penalty(offsets: Tensor) -> Tensor:
    """Mean squared length of the offsets of a row's control points.

    When to use: to keep a thin-plate-spline warp near the identity when the overlap alone does not (small training
    sets). The method's paper has no such term: its weight is 0 by default.

    Args:
        offsets: offsets of the control points in coordinates where the image is 1 wide, shape ``(N, points, axes)``.

    Returns:
        Loss of shape ``(N,)``, at least float32.

    Raises:
        ValueError: when ``offsets`` does not have three dimensions.

    Examples:
        >>> offset_penalty(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]))  # (25 + 0) / 2
        tensor([12.5000])
    """
    if offsets.ndim != 3:
        raise ValueError(f"offsets must have shape (N, points, axes), got {tuple(offsets.shape)}.")
    return at_least_float32(offsets).square().sum(2).mean(1)


def sum_of_squares(parameters: Iterable[Tensor]) -> Tensor:
    """Returns the squares of all entries of all tensors, summed.

    When to use: as an L2 penalty that is part of the loss, so that it is logged and its gradient passes through the
    optimiser's moments: ``weight_decay=w`` of ``torch.optim.Adam`` (not ``AdamW``) steps as ``0.5 * w`` times it does.

    Args:
        parameters: tensors of any shapes, on one device.

    Returns:
        Scalar, at least float32; zero for no tensor.

    Examples:
        >>> sum_of_squares([torch.tensor([3.0]), torch.tensor([[1.0, 2.0]])])
        tensor(14.)
    """
    squares = [_SumOfSquares.apply(at_least_float32(parameter)) for parameter in parameters]
    return torch.stack(squares).sum() if squares else torch.zeros(())


class _SumOfSquares(torch.autograd.Function):
    """Its gradient in one product; that of ``square`` is three, which counts for the weights of a whole network."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.square().sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        product: Tensor = values * (2 * grad)
        return product


class GaussianKLLoss(ReducedLoss):
    """Module form of :func:`gaussian_kl`: call it with means, log-variances and optionally a bool mask ``(N,)``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> GaussianKLLoss()(torch.tensor([[2.0], [9.0]]), torch.zeros(2, 1), torch.tensor([True, False]))
        tensor(2.)
    """

    def forward(self, mu: Tensor, logvar: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the reduced loss."""
        return self.reduce(gaussian_kl(mask_samples(mu, mask), mask_samples(logvar, mask)), mask)


class MeanAbsoluteLoss(ReducedLoss):
    """Module form of :func:`mean_absolute`: call it with two tensors and optionally a bool mask ``(N,)``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> MeanAbsoluteLoss(reduction="none")(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2))
        tensor([2., 0.])
    """

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the reduced loss."""
        return self.reduce(mean_absolute(mask_samples(pred, mask), mask_samples(target, mask)), mask)


class OffsetPenaltyLoss(ReducedLoss):
    """Module form of :func:`offset_penalty`: call it with offsets and optionally a bool mask ``(N,)``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> OffsetPenaltyLoss()(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]))
        tensor(12.5000)
    """

    def forward(self, offsets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the reduced loss."""
        return self.reduce(offset_penalty(mask_samples(offsets, mask)), mask)


class LeastSquaresAdversarialLoss(ReducedLoss):
    """Module form of :func:`least_squares_real` and :func:`least_squares_fake`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> LeastSquaresAdversarialLoss()(torch.tensor([[1.0], [0.0]]), target_is_real=False)
        tensor(0.5000)
    """

    def forward(self, pred: Tensor, target_is_real: bool, mask: Tensor | None = None) -> Tensor:
        """Returns the reduced distance of the scores ``pred (N, ...)`` from 1 (real) or 0."""
        distance = least_squares_real if target_is_real else least_squares_fake
        return self.reduce(distance(mask_samples(pred, mask)), mask)


def _difference(a: Tensor, b: Tensor) -> Tensor:
    check_same_shape("a", a, "b", b)
    return at_least_float32(a) - at_least_float32(b)


def _mean_square(distance: Tensor) -> Tensor:
    if distance.ndim < 1:
        raise ValueError("score must have rows, shape (N, ...), got a scalar.")
    return _row_means(distance.square())


def _row_means(values: Tensor) -> Tensor:
    # over axes, not of a flattened tensor, which copies channels last
    return values.mean(list(range(1, values.ndim))) if values.ndim > 1 else values
