# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Penalty on the offsets of a spline's control points."""

from __future__ import annotations

from torch import Tensor

from monai_mmseg.losses.inputs import PerSampleLoss, at_least_float32
from monai_mmseg.losses.masked import mask_samples

__all__ = ["OffsetPenaltyLoss", "offset_penalty"]


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
        >>> import torch
        >>> offset_penalty(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]))  # (25 + 0) / 2
        tensor([12.5000])
    """
    if offsets.ndim != 3:
        raise ValueError(f"offsets must have shape (N, points, axes), got {tuple(offsets.shape)}.")
    return at_least_float32(offsets).square().sum(2).mean(1)


class OffsetPenaltyLoss(PerSampleLoss):
    """Module form of :func:`offset_penalty`; call it with offsets and a mask ``(N,)`` of the rows that count.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> import torch
        >>> OffsetPenaltyLoss()(torch.ones(2, 25, 2))
        tensor(2.)
    """

    def forward(self, offsets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the reduced loss."""
        return self.reduce(offset_penalty(mask_samples(offsets, mask)), mask)
