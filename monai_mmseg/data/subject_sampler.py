# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Batches whose samples come from different subjects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.sampler import EpochRandomSampler, sample_numbers


class SubjectRandomSampler(EpochRandomSampler):
    """Random order in which the samples of a batch are of different subjects, as far as there are enough subjects.

    When to use: as ``sampler`` of a training ``DataLoader`` for losses that compare a sample with the next one of its
    batch and take it for another subject. A sample is drawn from the subjects that the last ``batch_size - 1`` samples
    do not have, with a probability by how many samples they have left; so neighbours of a batch differ unless all that
    is left is of one subject. All else is as for :class:`~monai_mmseg.data.EpochRandomSampler`.

    Args:
        data_source: a data set with ``subject_indices``, or the number of the subject of each sample.
        batch_size: samples in a batch of one process, as in the data loader.
        seed: as for :class:`~monai_mmseg.data.EpochRandomSampler`.
        num_samples: likewise.
        num_replicas: likewise; each process takes whole batches in turn.
        rank: likewise.

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
        subjects = sample_numbers(data_source, "subject")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        super().__init__(subjects, seed, num_samples, num_replicas=num_replicas, rank=rank)
        self.batch_size = int(batch_size)
        self.subjects = np.unique(subjects, return_inverse=True)[1]
        self.groups = [np.flatnonzero(self.subjects == one) for one in range(self.subjects.max() + 1)]

    def _once(self, generator: np.random.Generator, before: list[int]) -> list[int]:
        waiting = [generator.permutation(group).tolist() for group in self.groups]
        left = np.array([len(group) for group in waiting], dtype=np.float64)
        recent = self.subjects[before[-self.batch_size :]].tolist() if before else []
        order: list[int] = []
        while left.any():
            subject = _draw(generator, left, recent[-(self.batch_size - 1) :] if self.batch_size > 1 else [])
            order.append(waiting[subject].pop())
            left[subject] -= 1
            recent.append(subject)
        return order


def _draw(generator: np.random.Generator, left: NDArray[np.float64], recent: list[int]) -> int:
    """A subject with samples left: none of the recent ones, or else that which is the longest ago."""
    weights = left.copy()
    weights[recent] = 0
    if total := weights.sum():
        return int(generator.choice(len(left), p=weights / total))
    last = {subject: place for place, subject in enumerate(recent)}
    return int(min(np.flatnonzero(left), key=lambda subject: last[int(subject)]))
