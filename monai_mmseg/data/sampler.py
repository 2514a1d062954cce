# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which samples an epoch draws."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

__all__ = ["EpochRandomSampler"]


class EpochRandomSampler(Sampler[int]):
    """Random order that depends on the seed and the epoch alone, for epochs of any length and any number of processes.

    When to use: as ``sampler`` of a training ``DataLoader``. Samples are drawn without replacement until the data set
    is used up, then again. An :class:`~monai_mmseg.engines.ObjectiveTrainer` calls :meth:`set_epoch`.

    Args:
        data_source: the data set.
        seed: seed of the run, the same on all processes.
        num_samples: samples in an epoch, over all processes together; the length of the data set by default. Rounded up
            to a multiple of the number of processes.
        num_replicas: number of processes; by default that of the running distributed job, or 1.
        rank: which of them this is.
        shuffle: ``False`` keeps the order of the data set.

    Raises:
        ValueError: if the data set is empty, or a number is out of range.

    Examples:
        >>> sampler = EpochRandomSampler(range(3), seed=0, num_samples=6)
        >>> order = list(sampler)
        >>> sorted(order[:3]), sorted(order[3:])
        ([0, 1, 2], [0, 1, 2])
    """

    def __init__(
        self,
        data_source: Sized,
        seed: int = 0,
        num_samples: int | None = None,
        *,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
    ) -> None:
        running = dist.is_available() and dist.is_initialized()
        self.size = len(data_source)
        self.seed, self.shuffle = int(seed), bool(shuffle)
        self.num_replicas = num_replicas if num_replicas is not None else (dist.get_world_size() if running else 1)
        self.rank = rank if rank is not None else (dist.get_rank() if running else 0)
        self.total = self.size if num_samples is None else int(num_samples)
        if not self.size:
            raise ValueError("data_source must hold at least one sample, got an empty data set.")
        if self.total < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}.")
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"rank must be in [0, {self.num_replicas}), got {self.rank}.")
        self.epoch = self._passes = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 0."""
        self.epoch, self._passes = int(epoch), 0

    def __len__(self) -> int:
        return -(-self.total // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        # an epoch longer than the sampler starts it again; that pass has another order
        generator = np.random.default_rng([self.seed, self.epoch, self._passes])
        self._passes += 1
        order: list[int] = []
        while len(order) < len(self) * self.num_replicas:
            order += generator.permutation(self.size).tolist() if self.shuffle else range(self.size)
        return iter(order[self.rank : len(self) * self.num_replicas : self.num_replicas])
