# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""L2 penalty of parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from monai_mmseg.losses.inputs import at_least_float32

__all__ = ["sum_of_squares"]


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
    squares = [at_least_float32(parameter).square().sum() for parameter in parameters]
    return torch.stack(squares).sum() if squares else torch.zeros(())
