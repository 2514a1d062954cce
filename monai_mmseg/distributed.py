# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Processes of a run: how many, which one this is, and what the others hold. One process needs no set-up."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether ``torch.distributed`` runs."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Number of processes; 1 without ``torch.distributed``."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Number of this process; 0 without ``torch.distributed``."""
    return dist.get_rank() if is_distributed() else 0


def of_first(own: T) -> T:
    """What process 0 holds.

    Args:
        own: of this process, which can be pickled.

    Returns:
        The value of process 0.

    Examples:
        >>> of_first("refused")
        'refused'
    """
    values = [own]
    if is_distributed():
        dist.broadcast_object_list(values)
    return values[0]


def gather_mapping(own: dict[str, T]) -> dict[str, T]:
    """The entries of all processes; of a key that several have, the last one counts.

    Args:
        own: entries of this process, which can be pickled.

    Returns:
        A new dictionary.

    Examples:
        >>> gather_mapping({"s01": 0.5})
        {'s01': 0.5}
    """
    parts: list[dict[str, T] | None] = [own]
    if is_distributed():
        parts = [None] * world_size()
        dist.all_gather_object(parts, own)
    return {key: value for part in parts for key, value in (part or {}).items()}
