# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Batch statistics over all processes."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def synchronised(module: Module) -> Module:
    """The same module, with batch normalisation over all processes where the module is on a GPU.

    When to use: on an objective, before it goes into ``DistributedDataParallel``. PyTorch has no such layer for the
    CPU; there the module is left as it is, and each process normalises with the statistics of its own part of the
    batch. Parameters stay the same objects, so optimisers made before stay right.

    Args:
        module: an objective; only what is inside of it is replaced.

    Returns:
        ``module``, changed in place.

    Examples:
        >>> norm = nn.Sequential(nn.BatchNorm2d(1))
        >>> synchronised(norm) is norm, type(norm[0]).__name__
        (True, 'BatchNorm2d')
    """
    first = next(module.parameters(), None)
    if first is not None and first.is_cuda:
        for name, child in module.named_children():
            setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
    return module
