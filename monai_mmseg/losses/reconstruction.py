# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Distance between a rebuilt image, or a recovered code, and the original."""

from __future__ import annotations

from torch import Tensor

from monai_mmseg.losses.inputs import PerSampleLoss, at_least_float32, check_same_shape
from monai_mmseg.losses.masked import mask_samples

__all__ = ["MeanAbsoluteLoss", "mean_absolute", "mean_squared"]


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
        >>> import torch
        >>> mean_absolute(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2))
        tensor([2., 0.])
    """
    check_same_shape("a", a, "b", b)
    return (at_least_float32(a) - at_least_float32(b)).abs().flatten(1).mean(1)


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
        >>> import torch
        >>> mean_squared(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2))
        tensor([5., 0.])
    """
    check_same_shape("a", a, "b", b)
    return (at_least_float32(a) - at_least_float32(b)).square().flatten(1).mean(1)


class MeanAbsoluteLoss(PerSampleLoss):
    """Module form of :func:`mean_absolute`; call it with both tensors and a mask ``(N,)`` of the rows that count.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value a row).

    Examples:
        >>> import torch
        >>> MeanAbsoluteLoss()(torch.ones(2, 3), torch.zeros(2, 3))
        tensor(1.)
    """

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the reduced loss."""
        return self.reduce(mean_absolute(mask_samples(pred, mask), mask_samples(target, mask)), mask)
