# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Batches that hold the same number of samples of every modality, from lists of any length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from monai_mmseg.data.repeated_index import RepeatedIndex

__all__ = ["BalancedModalityBatchSampler"]


class BalancedModalityBatchSampler(Sampler[list[int]]):
    """Batches with `batch_size` samples of each modality; rows are ordered by modality.

    When to use: as ``batch_sampler`` of the training ``DataLoader`` of an unpaired method.

    **Rule of an epoch.** Each modality has a queue of its own: all its samples in random order, and, once they are used
    up, all again in a new order. By default an epoch has as many batches as the longest list needs to be seen once,
    rounded up; shorter lists are repeated. Whatever the length, samples of one modality differ in frequency by one draw
    at most. A modality without samples is left out: one modality alone makes batches of `batch_size`.

    The order depends on seed and epoch alone (an :class:`~monai_mmseg.engines.ObjectiveTrainer` calls
    :meth:`set_epoch`), so a resumed run continues as if it had not stopped. Repeated samples are
    :class:`~monai_mmseg.data.RepeatedIndex`, so that the data sets here augment each repeat in another way.

    Args:
        data_source: a data set with ``modality_indices``, or the index of the modality of each sample.
        batch_size: samples of each modality in a batch of one process, or one number for each modality in order.
        epoch_length: batches in an epoch of one process; by default by the rule above.
        seed: seed of the run, the same on all processes.
        num_replicas: number of processes; by default that of the running distributed job, or 1. Processes draw from
            one order and share nothing but what is repeated.
        rank: which of them this is.

    Raises:
        ValueError: if there is no sample or a number is out of range.

    Examples:
        >>> sampler = BalancedModalityBatchSampler([0, 0, 0, 0, 1, 1], batch_size=2)
        >>> [[index < 4 for index in batch] for batch in sampler]
        [[True, True, False, False], [True, True, False, False]]
    """

    def __init__(
        self,
        data_source: Any,
        batch_size: int | Sequence[int] = 1,
        epoch_length: int | None = None,
        seed: int = 0,
        *,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        running = dist.is_available() and dist.is_initialized()
        self.num_replicas = num_replicas if num_replicas is not None else (dist.get_world_size() if running else 1)
        self.rank = rank if rank is not None else (dist.get_rank() if running else 0)
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"rank must be in [0, {self.num_replicas}), got {self.rank}.")
        groups = _groups(data_source)
        sizes = _sizes(batch_size, max(groups) + 1)
        self.groups = {modality: (places, sizes[modality]) for modality, places in groups.items() if sizes[modality]}
        if not self.groups:
            raise ValueError(f"batch_size must draw from one of the modalities {sorted(groups)}, got {batch_size}.")
        needed = [-(-len(places) // (size * self.num_replicas)) for places, size in self.groups.values()]
        self.length = max(needed) if epoch_length is None else int(epoch_length)
        if self.length < 1:
            raise ValueError(f"epoch_length must be at least 1, got {epoch_length}.")
        self.seed = int(seed)
        self.epoch = self._passes = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 0."""
        self.epoch, self._passes = int(epoch), 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[list[int]]:
        # An epoch longer than the sampler starts it again; that pass has another order. A generator, since loaders with
        # workers make an iterator that they never use: a pass counts from its first batch.
        first, self._passes = self._passes, self._passes + 1
        queues = [self._queue(modality, first) for modality in self.groups]
        for _ in range(self.length):
            yield [index for queue in queues for index in next(queue)]

    def _queue(self, modality: int, first: int) -> Iterator[list[RepeatedIndex]]:
        """Batches of one modality; without an end."""
        places, size = self.groups[modality]
        # a stream for each modality: more samples of one do not change the order of the others
        generator = np.random.default_rng([self.seed, self.epoch, first, modality])
        drawn = first * -(-self.length * size * self.num_replicas // len(places))  # no draw is numbered twice
        waiting: list[RepeatedIndex] = []
        while True:
            while len(waiting) < size * self.num_replicas:
                waiting += [
                    RepeatedIndex(places[place], drawn) for place in generator.permutation(len(places)).tolist()
                ]
                drawn += 1
            shared, waiting = waiting[: size * self.num_replicas], waiting[size * self.num_replicas :]
            yield shared[self.rank :: self.num_replicas]


def _groups(data_source: Any) -> dict[int, list[int]]:
    """Places of the samples of each modality, in order of the modalities."""
    given = getattr(data_source, "modality_indices", data_source)
    indices = np.asarray(given.cpu() if isinstance(given, Tensor) else given)
    if indices.ndim != 1 or not indices.size or indices.dtype.kind not in "iu" or indices.min() < 0:
        raise ValueError(
            "data_source must be a data set with modality_indices, or the index of the modality of each sample (one "
            f"at least), got {type(data_source).__name__} with values of shape {indices.shape} and {indices.dtype}."
        )
    return {int(one): np.flatnonzero(indices == one).tolist() for one in np.unique(indices)}


def _sizes(batch_size: int | Sequence[int], modalities: int) -> list[int]:
    if isinstance(batch_size, Mapping | str):
        raise ValueError(f"batch_size must be one number, or one for each modality in order, got {batch_size!r}.")
    sizes = [int(one) for one in batch_size] if isinstance(batch_size, Sequence) else [int(batch_size)] * modalities
    if min(sizes, default=0) < 0 or max(sizes, default=0) < 1 or len(sizes) < modalities:
        raise ValueError(
            f"batch_size must be a number from 1, or one from 0 for each of {modalities} modalities, got {batch_size}."
        )
    return sizes
