# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which samples an epoch draws."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from monai_mmseg.distributed import rank as process_rank
from monai_mmseg.distributed import world_size

T = TypeVar("T")


class RepeatedIndex(int):
    """Place in a data set, and the number of the draw.

    Samplers that repeat samples within an epoch give it out; for any data set it is an ``int``. Data sets whose
    augmentation is a function of seed, epoch and item mix in `draw`: else all repeats in an epoch would be one picture.

    Examples:
        >>> index = RepeatedIndex(3, draw=2)
        >>> ["a", "b", "c", "d"][index], index.draw
        ('d', 2)
    """

    draw: int

    def __new__(cls, value: int, draw: int = 0) -> RepeatedIndex:
        """Make an index.

        Args:
            value: place in the data set.
            draw: how often it was drawn before in this epoch.
        """
        index = super().__new__(cls, value)
        index.draw = int(draw)
        return index


class EpochSampler(Sampler[T]):
    """Base of samplers whose order depends on seed and epoch alone, so a resumed run draws what the first one drew.

    Args:
        seed: seed of the run, the same on all processes.
        num_replicas: number of processes; by default that of the running distributed job, or 1.
        rank: which of them this is.

    Raises:
        ValueError: if there is no such process.
    """

    def __init__(self, seed: int, num_replicas: int | None, rank: int | None) -> None:
        self.seed = int(seed)
        self.num_replicas = world_size() if num_replicas is None else num_replicas
        self.rank = process_rank() if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"rank must be in [0, {self.num_replicas}), got {self.rank}.")
        self.epoch = self._passes = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 0."""
        self.epoch, self._passes = int(epoch), 0

    def _next_pass(self) -> int:
        """Number of this pass: an epoch longer than the sampler starts it again, with another order."""
        self._passes += 1
        return self._passes - 1


class EpochRandomSampler(EpochSampler[int]):
    """Random order that depends on the seed and the epoch alone, for epochs of any length and any number of processes.

    When to use: as ``sampler`` of a training ``DataLoader``. Samples are drawn without replacement until the data set
    is used up, then again, as ``RepeatedIndex``. An :class:`~monai_mmseg.engines.ObjectiveTrainer` calls
    :meth:`set_epoch`.

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

    batch_size = 1

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
        super().__init__(seed, num_replicas, rank)
        self.size, self.shuffle = len(data_source), bool(shuffle)
        if not self.size:
            raise ValueError("data_source must hold at least one sample, got an empty data set.")
        wanted = self.size if num_samples is None else int(num_samples)
        if wanted < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}.")
        self.total = -(-wanted // self.num_replicas) * self.num_replicas

    def __len__(self) -> int:
        return self.total // self.num_replicas

    def __iter__(self) -> Iterator[int]:
        number = self._next_pass()
        generator = np.random.default_rng([self.seed, self.epoch, number])
        order: list[int] = []
        drawn = number * -(-self.total // self.size)  # no draw is numbered twice
        while len(order) < self.total:
            again = self._once(generator, order)
            order += [RepeatedIndex(one, drawn) for one in again] if drawn else again
            drawn += 1
        mine: list[int] = []
        for first in range(0, self.total, self.batch_size * self.num_replicas):
            shared = order[first : min(first + self.batch_size * self.num_replicas, self.total)]
            size = len(shared) // self.num_replicas
            mine += shared[self.rank * size : (self.rank + 1) * size]
        return iter(mine)

    def _once(self, generator: np.random.Generator, before: list[int]) -> list[int]:
        """All samples in an order, after those that were drawn before."""
        return generator.permutation(self.size).tolist() if self.shuffle else list(range(self.size))


def sample_numbers(data_source: Any, kind: str) -> NDArray[np.integer]:
    """Number of the subject or modality (`kind`) of each sample, from a data set's ``<kind>_indices`` or as given."""
    given = getattr(data_source, f"{kind}_indices", data_source)
    numbers = np.asarray(given.cpu() if isinstance(given, Tensor) else given)
    if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu" or numbers.min() < 0:
        raise ValueError(
            f"data_source must be a data set with {kind}_indices, or the number of the {kind} of each sample (one at "
            f"least), got {type(data_source).__name__} with values of shape {numbers.shape} and {numbers.dtype}."
        )
    return numbers
