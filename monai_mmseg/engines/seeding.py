# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Random numbers that depend on the epoch alone, so that a resumed run draws what the first one would have drawn."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from monai.data.utils import set_rnd


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """One seed below 2**32 for an epoch and a process, far apart for neighbouring arguments.

    Args:
        seed: seed of the run.
        epoch: index of the epoch, from 0.
        rank: process of a distributed run.

    Returns:
        Seed.

    Examples:
        >>> epoch_seed(0, 1) == epoch_seed(0, 1), epoch_seed(0, 1) == epoch_seed(1, 0)
        (True, False)
    """
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def seed_random_state(seed: int) -> None:
    """Seed the global generators of PyTorch (all devices), NumPy and Python.

    When to use: at the start of an epoch; the random state then needs no place in a checkpoint.

    Examples:
        >>> seed_random_state(3); first = torch.rand(2)
        >>> seed_random_state(3); bool((torch.rand(2) == first).all())
        True
    """
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - transforms of others draw from the global generator
    random.seed(seed)


def seeded_by_epoch(loader: Any) -> bool:
    """Whether :func:`seed_data` makes the samples of a loader a function of seed, epoch and item, in any worker.

    When to use: to see whether workers may live on through epochs (``persistent_workers``). The data set says so by
    ``seeded_by_epoch``, and what draws the order must have ``set_epoch``: MONAI's random transforms and PyTorch's
    samplers run on from epoch to epoch.

    Args:
        loader: a data loader.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> seeded_by_epoch(DataLoader(range(8)))
        False
    """
    samplers = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    ordered = any(hasattr(one, "set_epoch") for one in samplers)
    return ordered and bool(getattr(getattr(loader, "dataset", None), "seeded_by_epoch", False))


def stop_workers(loader: Any) -> None:
    """End the workers of a loader that would live on; another pass starts new ones.

    Args:
        loader: a data loader, or anything else, which is left alone.

    Examples:
        >>> stop_workers([])
    """
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        loader._iterator = None
        iterator._shutdown_workers()


def seed_data(loader: Any, seed: int, epoch: int, rank: int = 0) -> None:
    """Tell a data loader which epoch starts.

    When to use: before each epoch of an own loop that has to be repeatable; the trainer does it by itself. Calls
    ``dataset.set_epoch(seed, epoch)``, ``sampler.set_epoch(epoch)`` and ``batch_sampler.set_epoch(epoch)`` where they
    exist, seeds the loader's own generator, and the MONAI transforms of the data set (whose random states would
    otherwise run on from epoch to epoch; in worker processes MONAI's ``DataLoader`` seeds them again).

    Args:
        loader: ``torch.utils.data.DataLoader`` or any iterable.
        seed: seed of the run.
        epoch: index of the epoch, from 0.
        rank: process of a distributed run.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> loader = DataLoader(range(8), batch_size=8, shuffle=True, generator=torch.Generator())
        >>> seed_data(loader, seed=0, epoch=3)
        >>> first = next(iter(loader))
        >>> seed_data(loader, seed=0, epoch=3)
        >>> torch.equal(next(iter(loader)), first)
        True
    """
    mixed = epoch_seed(seed, epoch, rank)
    generator = getattr(loader, "generator", None)
    if isinstance(generator, torch.Generator):
        generator.manual_seed(mixed)
    dataset = getattr(loader, "dataset", None)
    if dataset is not None:
        set_rnd(dataset, mixed)
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(seed, epoch)
    for name in ("sampler", "batch_sampler"):
        sampler = getattr(loader, name, None)
        if sampler is not None and hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
