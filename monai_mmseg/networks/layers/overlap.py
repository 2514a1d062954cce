# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Overlap of two anatomies, the measure by which pairs of slices are weighted."""

from __future__ import annotations

import torch
from torch import Tensor


def anatomy_overlap(a: Tensor, b: Tensor, eps: float = 1e-12) -> Tensor:
    """Soft Dice overlap per sample, pooled over all channels and pixels.

    Use it to see how well two anatomies of a pair fit; ``PairBalancer`` turns the
    overlaps of several candidates into weights.

    Args:
        a: anatomy with values in ``[0, 1]``, shape ``(B, C, *spatial)``.
        b: the other anatomy, same shape.
        eps: makes the overlap of two empty anatomies one.

    Returns:
        Overlaps in ``[0, 1]``, shape ``(B,)``. They reach one where the anatomies are binary and equal.

    Raises:
        ValueError: when the shapes differ.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.

    Examples:
        >>> a = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
        >>> anatomy_overlap(a, torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]))
        tensor([0.5000])
    """
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, got {list(a.shape)} and {list(b.shape)}.")
    # sums over many thousand pixels need single precision also under mixed precision
    dtype = torch.float64 if a.dtype == torch.float64 else torch.float32
    a, b = a.to(dtype).flatten(1), b.to(dtype).flatten(1)
    return (2 * (a * b).sum(1) + eps) / (a.sum(1) + b.sum(1) + eps)
