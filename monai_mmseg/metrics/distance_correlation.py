# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Distance correlation: does one vector tell anything about another, linear or not."""

from __future__ import annotations

import torch
from torch import Tensor


def distance_covariance(a: Tensor, b: Tensor) -> Tensor:
    r"""Distance covariance of two paired samples.

    When to use: as a part of :func:`distance_correlation`; it has the units of its arguments. With Euclidean distances
    between the samples of each, doubly centred to A and B,

    .. math:: \mathrm{dCov}^2 = \frac{1}{n^2} \sum_{kl} A_{kl} B_{kl}.

    Args:
        a: n samples, shape ``(n, p)``.
        b: n samples in the same order, shape ``(n, q)``.

    Returns:
        Scalar, float64, not negative.

    Raises:
        ValueError: when the samples do not pair, there are fewer than two, or a value is not finite.

    Reference:
        Szekely, Rizzo and Bakirov, "Measuring and testing dependence by correlation of distances", Annals of Statistics
        2007, doi:10.1214/009053607000000505 (the V-statistic).

    Examples:
        >>> import torch
        >>> distance_covariance(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [3.0]])) ** 2  # 0.5 * 1.0
        tensor(0.5000, dtype=torch.float64)
    """
    _check_samples(a, b)
    return _covariance_squared(_centred_distances(a), _centred_distances(b)).sqrt()


def distance_variance(a: Tensor) -> Tensor:
    """Distance variance of a sample: its :func:`distance_covariance` with itself, 0 for a constant one.

    When to use: to see how much a code varies at all.

    Args:
        a: n samples, shape ``(n, p)``.

    Raises:
        ValueError: when there are fewer than two samples or a value is not finite.

    Examples:
        >>> import torch
        >>> distance_variance(torch.tensor([[0.0], [1.0]]))
        tensor(0.5000, dtype=torch.float64)
    """
    return distance_covariance(a, a)


def distance_correlation(a: Tensor, b: Tensor) -> Tensor:
    r"""Distance correlation of two paired samples: 0 when independent, 1 when equal up to shift, rotation and scale.

    When to use: to measure how far anatomy and style codes are disentangled: flatten each to one row per image. The
    estimate is biased upwards for few samples and many dimensions; compare codes at one sample size.

    .. math:: \mathrm{dCor}(a, b) = \mathrm{dCov}(a, b) / \sqrt{\mathrm{dVar}(a) \, \mathrm{dVar}(b)}

    Args:
        a: n samples, shape ``(n, p)``.
        b: n samples in the same order, shape ``(n, q)``.

    Returns:
        Scalar in [0, 1], float64; 0 when either variance is 0.

    Raises:
        ValueError: when the samples do not pair, there are fewer than two, or a value is not finite.

    Reference:
        Szekely, Rizzo and Bakirov 2007, doi:10.1214/009053607000000505; as used by Chartsias et al., IEEE TMI 2020,
        doi:10.1109/TMI.2020.3036584, table on disentanglement.

    Examples:
        >>> import torch
        >>> style = torch.tensor([[0.0], [1.0], [5.0]])
        >>> distance_correlation(3 * style + 1, style)
        tensor(1., dtype=torch.float64)
        >>> distance_correlation(torch.ones(3, 4), style)
        tensor(0., dtype=torch.float64)
    """
    _check_samples(a, b)
    first, second = _centred_distances(a), _centred_distances(b)
    variances = _covariance_squared(first, first) * _covariance_squared(second, second)
    if variances == 0:
        return torch.zeros_like(variances)
    return (_covariance_squared(first, second) / variances.sqrt()).sqrt().clamp(max=1)


def _centred_distances(samples: Tensor) -> Tensor:
    # by differences: the faster form with a matrix product loses half of the digits
    samples = samples.detach().flatten(1).double()
    distances = torch.cdist(samples, samples, compute_mode="donot_use_mm_for_euclid_dist")
    return distances - distances.mean(0, keepdim=True) - distances.mean(1, keepdim=True) + distances.mean()


def _covariance_squared(first: Tensor, second: Tensor) -> Tensor:
    product = (first * second).mean()
    # what the sum of n² products of this size rounds by is nothing: independent samples give 0, not its square root
    size = (first.square().mean() * second.square().mean()).sqrt()
    rounding = first.shape[0] * torch.finfo(product.dtype).eps * size
    return torch.where(product > rounding, product, torch.zeros_like(product))


def _check_samples(a: Tensor, b: Tensor) -> None:
    for name, samples in (("a", a), ("b", b)):
        if samples.ndim < 2 or samples.shape[0] < 2:
            raise ValueError(f"{name} must hold at least two samples, shape (n, p), got {tuple(samples.shape)}.")
        if not samples.isfinite().all():
            raise ValueError(f"{name} must be finite, got NaN or Inf.")
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"a and b must pair, got {a.shape[0]} and {b.shape[0]} samples.")
