# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Balancer that weights candidate pairs of slices by how well their anatomies overlap."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_mmseg.networks.initialisation import glorot_uniform


class PairBalancer(nn.Module):
    """Weights of candidate pairs from their overlaps.

    Use it where no expert has paired the slices of two modalities: several candidates are deformed onto the reference,
    and a tiny network decides from :func:`~monai_mmseg.networks.layers.anatomy_overlap` how much each counts.

    Args:
        num_candidates: number of candidates, k.
        hidden: units of the hidden layer.

    Raises:
        ValueError: when there is less than one candidate.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.

    Examples:
        >>> balancer = PairBalancer(num_candidates=3)
        >>> weights = balancer(torch.tensor([[0.9, 0.4, 0.1]]))
        >>> weights.shape, round(weights.sum().item(), 4)
        (torch.Size([1, 3]), 1.0)
    """

    def __init__(self, num_candidates: int = 3, hidden: int = 5) -> None:
        super().__init__()
        if num_candidates < 1:
            raise ValueError(f"num_candidates must be at least 1, got {num_candidates}.")
        self.hidden = nn.Linear(num_candidates, hidden)
        self.out = nn.Linear(hidden, num_candidates)
        self.apply(glorot_uniform)

    def forward(self, overlaps: Tensor) -> Tensor:
        """Positive weights ``(B, k)`` that sum to one, from each candidate's overlap with the reference ``(B, k)``."""
        return torch.softmax(self.out(torch.relu(self.hidden(overlaps))), dim=1)
