# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Soft spectral normalisation: a penalty that pulls a weight towards unit spectral norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def spectral_penalty(weight_matrix: Tensor, u: Tensor, iterations: int = 3, weight: float = 10.0) -> Tensor:
    """Mean absolute distance of a weight from itself divided by its spectral norm.

    Add it to the loss of a discriminator for parity with published results of DAFNet;
    :func:`torch.nn.utils.parametrizations.spectral_norm` is what its paper describes.

    Args:
        weight_matrix: weight, shape ``(n, m)``, one column for each output channel.
        u: start vector of the power iterations, shape ``(n,)`` or ``(n, 1)``.
        iterations: number of power iterations.
        weight: factor of the penalty.

    Returns:
        ``weight * mean(|W / sigma - W|)``, a scalar. No gradient passes through ``W / sigma``.

    Raises:
        ValueError: when ``u`` does not fit, or there is no iteration.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.
        Differs from the paper: it names spectral normalisation, of which this is the soft form behind its results.

    Examples:
        >>> diagonal = torch.diag(torch.tensor([2.0, 2.0]))
        >>> spectral_penalty(diagonal, torch.ones(2))  # 10 * mean(|1 - 2|, 0, 0, |1 - 2|)
        tensor(5.0000)
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}.")
    if weight_matrix.ndim != 2 or u.numel() != weight_matrix.shape[0]:
        raise ValueError(
            "weight_matrix and u must have the shapes (n, m) and (n,), got "
            f"{tuple(weight_matrix.shape)} and {tuple(u.shape)}."
        )
    with torch.no_grad():
        left = u.reshape(-1).to(weight_matrix.dtype)
        for _ in range(iterations):
            right = F.normalize(weight_matrix.mT @ left, dim=0)
            left = F.normalize(weight_matrix @ right, dim=0)
        sigma = torch.dot(left, weight_matrix @ right)
        target = weight_matrix / sigma
    return weight * (target - weight_matrix).abs().mean()
