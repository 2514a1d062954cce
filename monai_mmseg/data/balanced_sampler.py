# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Batches that hold the same number of samples of every modality, from lists of any length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from monai_mmseg.data.sampler import EpochSampler, RepeatedIndex, sample_numbers


class BalancedModalityBatchSampler(EpochSampler[list[int]]):
    """Batches with `batch_size` samples of each modality, ordered by modality.

    When to use: as ``batch_sampler`` of the training ``DataLoader`` of an unpaired method.

    **Rule of an epoch.** Each modality has a queue of its own: all its samples in random order, and, once they are used
    up, all again in a new order. By default an epoch has as many batches as the longest list needs to be seen once,
    rounded up; shorter lists are repeated. Whatever the length, samples of one modality differ in frequency by one draw
    at most. A modality without samples is left out: one modality alone makes batches of `batch_size`.

    The order depends on seed and epoch alone (an :class:`~monai_mmseg.engines.ObjectiveTrainer` calls
    :meth:`set_epoch`), so a resumed run continues as if it had not stopped. Repeated samples are
    ``RepeatedIndex``, so that the data sets here augment each repeat in another way.

    Args:
        data_source: a data set with ``modality_indices``, or the index of the modality of each sample.
        batch_size: samples of each modality in a batch of one process, or one number for each modality in order.
        epoch_length: batches in an epoch of one process; by default by the rule above.
        seed: as for :class:`~monai_mmseg.data.EpochRandomSampler`.
        num_replicas: likewise. Processes draw from one order and share nothing but what is repeated.
        rank: likewise.

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
        super().__init__(seed, num_replicas, rank)
        numbers = sample_numbers(data_source, "modality")
        groups = {int(one): np.flatnonzero(numbers == one).tolist() for one in np.unique(numbers)}
        sizes = _sizes(batch_size, max(groups) + 1)
        self.groups = {modality: (places, sizes[modality]) for modality, places in groups.items() if sizes[modality]}
        if not self.groups:
            raise ValueError(f"batch_size must draw from one of the modalities {sorted(groups)}, got {batch_size}.")
        needed = [-(-len(places) // (size * self.num_replicas)) for places, size in self.groups.values()]
        self.length = max(needed) if epoch_length is None else int(epoch_length)
        if self.length < 1:
            raise ValueError(f"epoch_length must be at least 1, got {epoch_length}.")

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[list[int]]:
        # a generator: loaders with workers make an iterator that they never use, so a pass counts from its first batch
        first = self._next_pass()
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


def _sizes(batch_size: int | Sequence[int], modalities: int) -> list[int]:
    if isinstance(batch_size, Mapping | str):
        raise ValueError(f"batch_size must be one number, or one for each modality in order, got {batch_size!r}.")
    sizes = [int(one) for one in batch_size] if isinstance(batch_size, Sequence) else [int(batch_size)] * modalities
    if min(sizes, default=0) < 0 or max(sizes, default=0) < 1 or len(sizes) < modalities:
        raise ValueError(
            f"batch_size must be a number from 1, or one from 0 for each of {modalities} modalities, got {batch_size}."
        )
    return sizes
