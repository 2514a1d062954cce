# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Fusion of the anatomies of several modalities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def fuse_anatomies(anatomies: Tensor, present: Tensor | None = None) -> Tensor:
    """Elementwise maximum over the anatomies that are present.

    Use it to join aligned anatomies of any number of modalities: the maximum does not depend on their order, and an
    anatomy that one modality misses is taken from another.

    Args:
        anatomies: aligned anatomies, shape ``(B, N, C, *spatial)``.
        present: which of the N are there, bool, shape ``(B, N)``; ``None`` means all. What stands in absent
            entries is never read (not even a NaN), and gets no gradient.

    Returns:
        Fused anatomy of shape ``(B, C, *spatial)``; zeros where a sample has nothing present.

    Raises:
        ValueError: when the shape of ``present`` does not fit.

    Reference:
        A. Chartsias et al., IEEE TMI 2020, https://doi.org/10.48550/arXiv.1911.04417.

    Examples:
        >>> a = torch.tensor([[[1.0, 0.0]], [[0.0, 0.5]]])[None]  # one sample, two modalities, one channel
        >>> fuse_anatomies(a).tolist()
        [[[1.0, 0.5]]]
        >>> fuse_anatomies(a, torch.tensor([[False, True]])).tolist()
        [[[0.0, 0.5]]]
    """
    if present is None:
        return anatomies.amax(1)
    if list(present.shape) != list(anatomies.shape[:2]):
        raise ValueError(
            f"present must have the shape {list(anatomies.shape[:2])} of the anatomies, got {list(present.shape)}."
        )
    rows, count = anatomies.shape[0], anatomies.shape[1]
    mask = present.to(torch.bool).reshape([rows, count] + [1] * (anatomies.dim() - 2))
    fused = torch.where(mask, anatomies, torch.full_like(anatomies, float("-inf"))).amax(1)
    return torch.where(mask.any(1), fused, torch.zeros_like(fused))


def pool_anatomies(
    anatomies: Tensor, present: Tensor | None = None, pools: Sequence[str] = ("max", "mean", "min")
) -> Tensor:
    """Anatomies of any number of modalities as a fixed number of channels.

    Use it in front of a network that must work whichever modalities are there: their order and number do not matter.

    Args:
        anatomies: aligned anatomies, shape ``(B, M, C, *spatial)``.
        present: which of the M are there, bool, shape ``(B, M)``; ``None`` means all. What stands in absent entries is
            never read (not even a NaN), and gets no gradient.
        pools: ``"max"``, ``"mean"`` and ``"min"``, in the order of the result.

    Returns:
        Shape ``(B, len(pools) * C, *spatial)``; zeros where a sample has nothing present.

    Raises:
        ValueError: when ``present`` does not fit, or a pool is unknown.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: the fused representation, 12 channels for four of anatomy.

    Examples:
        >>> a = torch.tensor([[[1.0, 0.0]], [[0.0, 0.5]]])[None]  # one sample, two modalities, one channel
        >>> pool_anatomies(a).tolist()
        [[[1.0, 0.5], [0.5, 0.25], [0.0, 0.0]]]
    """
    if not pools or any(pool not in ("max", "mean", "min") for pool in pools):
        raise ValueError(f"pools must be of 'max', 'mean' and 'min', got {list(pools)}.")
    is_present = (
        torch.ones(anatomies.shape[:2], dtype=torch.bool, device=anatomies.device) if present is None else present
    )
    found = []
    for pool in pools:
        if pool == "mean":
            mask = is_present.to(anatomies.device, torch.bool).reshape(
                [*is_present.shape, *[1] * (anatomies.dim() - 2)]
            )
            if list(is_present.shape) != list(anatomies.shape[:2]):
                raise ValueError(
                    f"present must have the shape {list(anatomies.shape[:2])} of the anatomies, got "
                    f"{list(is_present.shape)}."
                )
            total = torch.where(mask, anatomies, torch.zeros_like(anatomies)).sum(1)
            found.append(total / mask.sum(1).clamp(min=1))
        else:
            # the minimum is the maximum of the negatives
            sign = 1.0 if pool == "max" else -1.0
            found.append(sign * fuse_anatomies(sign * anatomies, is_present))
    return torch.cat(found, 1)
