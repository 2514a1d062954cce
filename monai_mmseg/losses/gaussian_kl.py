# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Divergence of a diagonal Gaussian from the standard normal distribution."""

from __future__ import annotations

from torch import Tensor

from monai_mmseg.losses.inputs import PerSampleLoss, at_least_float32, check_same_shape
from monai_mmseg.losses.masked import mask_samples

__all__ = ["GaussianKLLoss", "gaussian_kl"]


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
        >>> import torch
        >>> gaussian_kl(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.zeros(2, 2))
        tensor([ 0.0000, 12.5000])
    """
    check_same_shape("mu", mu, "logvar", logvar, min_dims=2)
    mu, logvar = at_least_float32(mu), at_least_float32(logvar)
    # expm1 keeps the small difference exp(v) - 1 - v exact, so that the sum does not turn negative near zero
    return 0.5 * (mu.square() + logvar.expm1() - logvar).flatten(1).sum(1)


class GaussianKLLoss(PerSampleLoss):
    """Module form of :func:`gaussian_kl`; call it with ``mu``, ``logvar`` and a mask ``(N,)`` of the rows that count.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> import torch
        >>> GaussianKLLoss()(torch.tensor([[2.0]]), torch.zeros(1, 1))
        tensor(2.)
    """

    def forward(self, mu: Tensor, logvar: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the reduced loss."""
        return self.reduce(gaussian_kl(mask_samples(mu, mask), mask_samples(logvar, mask)), mask)
