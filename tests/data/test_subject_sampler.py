# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from monai_mmseg.data import SubjectRandomSampler

SUBJECTS = np.repeat(np.arange(6), [30, 12, 25, 8, 20, 15])


def batches(order, size):
    return [order[i : i + size] for i in range(0, len(order), size)]


def test_an_epoch_is_a_permutation_and_the_next_another():
    sampler = SubjectRandomSampler(SUBJECTS, 4, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert sorted(first) == sorted(second) == list(range(len(SUBJECTS)))
    assert first == list(sampler)
    assert first != second
    assert first != list(sampler)  # a further pass of the epoch
    assert first != list(SubjectRandomSampler(SUBJECTS, 4, seed=2))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_subjects_of_a_batch_differ(size):
    for seed in range(5):
        found = batches(list(SubjectRandomSampler(SUBJECTS, size, seed=seed)), size)
        alike = [len(set(SUBJECTS[batch])) < len(batch) for batch in found]
        # at the end of an epoch fewer subjects may be left than a batch has rows
        assert not any(alike[: int(0.6 * len(found))])
        assert np.mean(alike) < 0.35


def test_neighbours_differ_even_in_batches_larger_than_the_number_of_subjects():
    subjects = np.repeat(np.arange(3), 40)
    for seed in range(5):
        order = list(SubjectRandomSampler(subjects, 8, seed=seed))
        same = (np.diff(subjects[order]) == 0).mean()
        assert same < 0.02


@pytest.mark.parametrize("samples", [7, 110, 250])
def test_epochs_of_another_length(samples):
    order = list(SubjectRandomSampler(SUBJECTS, 4, num_samples=samples))
    assert len(order) == samples
    counts = Counter(order).values()
    assert max(counts) - (min(counts) if samples >= 110 else 0) <= 1


@pytest.mark.parametrize("replicas", [2, 3])
def test_processes_share_batches(replicas):
    whole = SubjectRandomSampler(SUBJECTS, 4 * replicas, num_samples=60)
    parts = [
        list(SubjectRandomSampler(SUBJECTS, 4, num_samples=60, num_replicas=replicas, rank=rank))
        for rank in range(replicas)
    ]
    assert {len(part) for part in parts} == {60 // replicas}
    assert len(set().union(*parts)) == 60
    for part in parts:
        alike = [len(set(SUBJECTS[batch])) < len(batch) for batch in batches(part, 4)]
        assert sum(alike) <= 1
    assert len(whole) == 60


def test_one_subject_alone():
    assert sorted(SubjectRandomSampler([4] * 5, 3)) == list(range(5))
    assert list(SubjectRandomSampler([0], 1)) == [0]


def test_takes_a_data_set():
    class Data:
        subject_indices = [0, 0, 1, 1]

    order = list(SubjectRandomSampler(Data(), 2))
    assert {order[0] // 2, order[1] // 2} == {0, 1}
    loader = torch.utils.data.DataLoader(list(range(4)), batch_size=2, sampler=SubjectRandomSampler(Data(), 2))
    assert len(list(loader)) == 2


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ([], {}, "one at least"),
        ([0.5], {}, "number of the subject of each sample"),
        ([1], {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ([1], {"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ([1], {"num_replicas": 2, "rank": 2}, r"rank must be in \[0, 2\), got 2"),
    ],
)
def test_refuses(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        SubjectRandomSampler(data, **{"batch_size": 2, **arguments})
