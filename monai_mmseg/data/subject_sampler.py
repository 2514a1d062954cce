# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Batches whose samples come from different subjects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data import Sampler

__all__ = ["SubjectRandomSampler"]


class SubjectRandomSampler(Sampler[int]):
    """Random order in which the samples of a batch are of different subjects, as far as there are enough subjects.

    When to use: as ``sampler`` of a training ``DataLoader`` for losses that compare a row of a batch with the next one
    and take it for another subject. A sample is drawn from the subjects that the last ``batch_size - 1`` samples do not
    have, with a probability by how many samples they have left; so neighbours of a batch differ unless all that is left
    is of one subject. Each sample comes once, and then all again. The order depends on seed and epoch alone; an
    :class:`~monai_mmseg.engines.ObjectiveTrainer` calls :meth:`set_epoch`.

    Args:
        data_source: a data set with ``subject_indices``, or the number of the subject of each sample.
        batch_size: samples in a batch of one process, as in the data loader.
        seed: seed of the run, the same on all processes.
        num_samples: samples in an epoch, over all processes together; the length of the data set by default. Rounded up
            to a multiple of the number of processes.
        num_replicas: number of processes; by default that of the running distributed job, or 1. Each takes whole
            batches in turn.
        rank: which of them this is.

    Raises:
        ValueError: if there are no samples, or a number is out of range.

    Examples:
        >>> order = list(SubjectRandomSampler([0, 0, 0, 1, 1, 1], batch_size=2))
        >>> sorted(order), [abs(order[i] // 3 - order[i + 1] // 3) for i in range(5)]
        ([0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1])
    """

    def __init__(
        self,
        data_source: Any,
        batch_size: int,
        seed: int = 0,
        num_samples: int | None = None,
        *,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        running = dist.is_available() and dist.is_initialized()
        self.num_replicas = num_replicas if num_replicas is not None else (dist.get_world_size() if running else 1)
        self.rank = rank if rank is not None else (dist.get_rank() if running else 0)
        subjects = np.asarray(getattr(data_source, "subject_indices", data_source))
        if subjects.ndim != 1 or not subjects.size or subjects.dtype.kind not in "iu":
            raise ValueError(
                "data_source must be a data set with subject_indices, or the number of the subject of each sample (one "
                f"at least), got {type(data_source).__name__} with values of shape {subjects.shape}."
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"rank must be in [0, {self.num_replicas}), got {self.rank}.")
        self.groups = [np.flatnonzero(subjects == one) for one in np.unique(subjects)]
        self.batch_size, self.seed = int(batch_size), int(seed)
        wanted = len(subjects) if num_samples is None else int(num_samples)
        if wanted < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}.")
        self.total = -(-wanted // self.num_replicas) * self.num_replicas
        self.epoch = self._passes = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 0."""
        self.epoch, self._passes = int(epoch), 0

    def __len__(self) -> int:
        return self.total // self.num_replicas

    def __iter__(self) -> Iterator[int]:
        # an epoch longer than the sampler starts it again; that pass has another order
        generator = np.random.default_rng([self.seed, self.epoch, self._passes])
        self._passes += 1
        order: list[int] = []
        recent: list[int] = []
        while len(order) < self.total:
            order += self._once(generator, recent)
        mine: list[int] = []
        for first in range(0, self.total, self.batch_size * self.num_replicas):
            shared = order[first : min(first + self.batch_size * self.num_replicas, self.total)]
            size = len(shared) // self.num_replicas
            mine += shared[self.rank * size : (self.rank + 1) * size]
        return iter(mine)

    def _once(self, generator: np.random.Generator, recent: list[int]) -> list[int]:
        """All samples in an order; `recent` are the subjects of the last ones, and goes on."""
        waiting = [generator.permutation(group).tolist() for group in self.groups]
        left = np.array([len(group) for group in waiting], dtype=np.float64)
        order: list[int] = []
        while left.any():
            subject = _draw(generator, left, recent[-(self.batch_size - 1) :] if self.batch_size > 1 else [])
            order.append(waiting[subject].pop())
            left[subject] -= 1
            recent.append(subject)
        del recent[: -self.batch_size]
        return order


def _draw(generator: np.random.Generator, left: NDArray[np.float64], recent: list[int]) -> int:
    """A subject with samples left: none of the recent ones, or else that which is the longest ago."""
    weights = left.copy()
    weights[recent] = 0
    if total := weights.sum():
        return int(generator.choice(len(left), p=weights / total))
    last = {subject: place for place, subject in enumerate(recent)}
    return int(min(np.flatnonzero(left), key=lambda subject: last[int(subject)]))
