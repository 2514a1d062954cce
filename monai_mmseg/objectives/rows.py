# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which rows of a paired batch exist: own images and ordered pairs, as index tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from monai_mmseg.losses.masked import group_means


class PairedRows(NamedTuple):
    """Index tensors that turn a batch with absent modalities into flat rows of what is there.

    ``N`` rows = ``N_own`` own rows (modality-major) followed by ``N_pair * k`` rows of ordered pairs (pair-major, the
    ``k`` candidates of one sample next to each other). A *branch* is one modality's own path (``0 .. M-1``) or one
    ordered pair (``M ..``); the method sums its losses over branches and averages within each.
    """

    encode: tuple[Tensor, ...]  # per modality: samples in which it is present
    own: Tensor  # (N_own,) rows of the anatomy stack, candidate 0
    moving: Tensor  # (N_pair * k,) rows of the anatomy stack that are moved
    fixed: Tensor  # (N_pair * k,) rows of the anatomy stack that they are moved onto
    fixed_own: Tensor  # (N_pair * k,) the same slices counted among the own rows
    sample: Tensor  # (N,) sample in the batch
    frame: Tensor  # (N,) modality in whose frame the row lies: its own, or that of the fixed slice
    branch: Tensor  # (N,) branch number
    first: Tensor  # (N_first,) rows of candidate 0
    frames: tuple[Tensor, ...]  # per modality: rows of candidate 0 in its frame
    num_branches: int
    candidates: int


def paired_rows(present: Tensor, candidates: int = 1, device: torch.device | str = "cpu") -> PairedRows:
    """List the own rows and the ordered pairs of a batch.

    Everything is computed from the mask on the CPU, so no step of a GPU waits for it.

    Args:
        present: which modalities are there, bool ``(B, M)``, on the CPU.
        candidates: number ``k`` of slices that are kept for each modality.
        device: where the index tensors go.

    Returns:
        The rows; every tensor is ``int64``.

    Raises:
        ValueError: if ``present`` is no ``(B, M)`` mask, or ``candidates`` is not positive.

    Examples:
        >>> rows = paired_rows(torch.tensor([[True, True], [True, False]]))
        >>> rows.branch.tolist()  # two own rows of modality 0, one of modality 1, then the pairs 0 -> 1 and 1 -> 0
        [0, 0, 1, 2, 3]
        >>> rows.frame.tolist()
        [0, 0, 1, 1, 0]
    """
    if present.ndim != 2 or present.dtype != torch.bool:
        raise ValueError(f"present must be a bool tensor (B, M), got {present.dtype} of shape {tuple(present.shape)}.")
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}.")
    present = present.cpu()
    batch, modalities = present.shape
    own_modality, own_sample = present.T.nonzero(as_tuple=True)
    position = torch.full((modalities, batch), -1)
    position[own_modality, own_sample] = torch.arange(len(own_sample))

    pairs = [(i, j) for i in range(modalities) for j in range(modalities) if i != j]
    source = torch.tensor([i for i, _ in pairs], dtype=torch.long)
    target = torch.tensor([j for _, j in pairs], dtype=torch.long)
    both = present.T[source] & present.T[target] if pairs else torch.zeros(0, batch, dtype=torch.bool)
    pair, sample = both.nonzero(as_tuple=True)
    candidate = torch.arange(candidates).repeat(len(pair))
    pair, sample = pair.repeat_interleave(candidates), sample.repeat_interleave(candidates)
    moving_own, fixed_own = position[source[pair], sample], position[target[pair], sample]

    frame = torch.cat([own_modality, target[pair]])
    is_first = torch.cat([torch.ones(len(own_sample), dtype=torch.bool), candidate == 0])

    def to(index: Tensor) -> Tensor:
        return index.to(device, non_blocking=True)

    return PairedRows(
        encode=tuple(to(present[:, m].nonzero()[:, 0]) for m in range(modalities)),
        own=to(torch.arange(len(own_sample)) * candidates),
        moving=to(moving_own * candidates + candidate),
        fixed=to(fixed_own * candidates),
        fixed_own=to(fixed_own),
        sample=to(torch.cat([own_sample, sample])),
        frame=to(frame),
        branch=to(torch.cat([own_modality, modalities + pair])),
        first=to(is_first.nonzero()[:, 0]),
        frames=tuple(to((is_first & (frame == m)).nonzero()[:, 0]) for m in range(modalities)),
        num_branches=modalities + len(pairs),
        candidates=candidates,
    )


def candidate_means(weight: Tensor, candidates: int) -> Tensor:
    """Mean weight of each candidate, ``(k,)``, of the weights of the rows of pairs, ``(N_pair * k,)``.

    Examples:
        >>> candidate_means(torch.tensor([0.75, 0.25, 0.25, 0.75]), 2)
        tensor([0.5000, 0.5000])
    """
    candidate = torch.arange(candidates, device=weight.device).repeat(len(weight) // candidates)
    return group_means(weight, candidate, candidates)
