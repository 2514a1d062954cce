# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Hard decisions that pass gradients on unchanged (straight-through estimators)."""

from __future__ import annotations

import torch
from torch import Tensor


def straight_through_round(x: Tensor) -> Tensor:
    """Values rounded to the nearest integer, with the gradient of the identity.

    Use it to binarise an anatomy: a soft map in ``[0, 1]`` becomes a map of zeros and ones through which the networks
    behind it still train the encoder in front of it. Ties go to the even number (0.5 becomes 0), so that a pixel whose
    largest probability does not exceed one half belongs to no channel.

    Args:
        x: any finite values, any shape.

    Returns:
        ``round(x)``, exactly; backward hands the incoming gradient through.

    Reference:
        A. Chartsias et al., "Disentangle, align and fuse for multimodal and semi-supervised image segmentation",
        IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.
        Differs from the paper: the text says that the channels of an anatomy sum to one; plain rounding, as published
        results were made, gives zero or one. See :func:`straight_through_argmax` for exactly one.

    Examples:
        >>> x = torch.tensor([0.2, 0.5, 0.9], requires_grad=True)
        >>> straight_through_round(x).tolist()
        [0.0, 0.0, 1.0]
        >>> straight_through_round(x).sum().backward()
        >>> x.grad
        tensor([1., 1., 1.])
    """
    # adding a difference that is exactly zero keeps the value exact, also where x + (round(x) - x) would not be
    return torch.round(x).detach() + (x - x.detach())


def straight_through_argmax(x: Tensor, dim: int = 1) -> Tensor:
    """One-hot map of the largest entry along one dimension, with the gradient of the identity.

    Use it instead of :func:`straight_through_round` where every pixel has to belong to exactly one channel.

    Args:
        x: scores or probabilities, any shape, also of the result. The first of equal entries wins.
        dim: the dimension of the channels.

    Examples:
        >>> x = torch.tensor([[0.3, 0.4, 0.3]], requires_grad=True)
        >>> straight_through_argmax(x).tolist()
        [[0.0, 1.0, 0.0]]
        >>> (straight_through_argmax(x) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
        >>> x.grad
        tensor([[1., 2., 3.]])
    """
    hard = torch.zeros_like(x).scatter(dim, x.argmax(dim, keepdim=True), 1.0)
    return hard.detach() + (x - x.detach())
