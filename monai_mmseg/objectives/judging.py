# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The step of a least-squares discriminator that judges real and made rows in one pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_mmseg.distributed import is_distributed
from monai_mmseg.losses.distances import least_squares_fake, least_squares_real
from monai_mmseg.losses.inputs import at_least_float32
from monai_mmseg.losses.masked import masked_mean
from monai_mmseg.objectives.base import PhaseOutput


def judged(discriminator: nn.Module, real: Tensor, fake: Tensor, mask: Tensor | None = None) -> PhaseOutput:
    """``least_squares`` (``mean (D(real) - 1)^2 + mean D(fake)^2``) and ``spectral`` of one discriminator.

    Args:
        discriminator: an :class:`~monai_mmseg.networks.nets.AdversarialDiscriminator`.
        real: rows that it should know, ``(N, C, *spatial)``.
        fake: rows of the generator, ``(F, C, *spatial)``.
        mask: which of the real rows count, bool ``(N,)``; ``None``: all.

    Returns:
        The two terms, and no outputs.
    """
    score = at_least_float32(discriminator(torch.cat([real.to(fake), fake])))
    loss = masked_mean(least_squares_real(score[: len(real)]).flatten(), mask)
    loss = loss + masked_mean(least_squares_fake(score[len(real) :]).flatten())
    penalty: Tensor = discriminator.spectral_penalty()  # type: ignore[operator]
    return PhaseOutput({"least_squares": loss, "spectral": penalty}, {})


def resting(discriminator: nn.Module) -> PhaseOutput:
    """Zeros in the place of :func:`judged`, without gradient, so that no optimiser steps.

    In a distributed run the processes exchange gradients whatever they are: zeros there.

    Examples:
        >>> {name: term.item() for name, term in resting(nn.Linear(1, 1)).terms.items()}
        {'least_squares': 0.0, 'spectral': 0.0}
    """
    parameters = list(discriminator.parameters())
    zero = parameters[0].new_zeros(())
    if is_distributed():
        zero = zero + torch.stack([parameter.sum() for parameter in parameters]).sum() * 0
    return PhaseOutput({"least_squares": zero, "spectral": zero}, {})


def draw_rows(index: Tensor, number: int) -> Tensor:
    """``number`` of the rows without replacement (all, when there are no more).

    Examples:
        >>> sorted(draw_rows(torch.arange(3), 5).tolist())
        [0, 1, 2]
    """
    return index[torch.randperm(len(index))[:number].to(index.device, non_blocking=True)]
