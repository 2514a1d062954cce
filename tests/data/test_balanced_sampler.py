# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from monai.data import DataLoader

from monai_mmseg.data import BalancedModalityBatchSampler
from monai_mmseg.data.balanced_sampler import RepeatedIndex
from monai_mmseg.engines import seed_data

# 7 samples of modality 0, 3 of 1, 5 of 2, mixed up
INDICES = [1, 0, 2, 0, 0, 2, 1, 0, 2, 0, 2, 1, 0, 2, 0]


def test_every_batch_holds_as_many_of_each_in_order():
    sampler = BalancedModalityBatchSampler(INDICES, 2)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 4  # 7 samples, 2 at a time
    for batch in batches:
        assert [INDICES[index] for index in batch] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("length", [None, 1, 5, 40])
def test_frequencies_within_a_modality_differ_by_one_at_most(length):
    counts = Counter(index for batch in BalancedModalityBatchSampler(INDICES, 2, length, seed=3) for index in batch)
    for modality in range(3):
        mine = [counts[place] for place, one in enumerate(INDICES) if one == modality]
        assert max(mine) - min(mine) <= 1
        assert sum(mine) == 2 * (length or 4)


def test_one_modality_alone_and_sizes_for_each():
    alone = list(BalancedModalityBatchSampler([1, 1, 1], 2))
    assert [len(batch) for batch in alone] == [2, 2]
    uneven = BalancedModalityBatchSampler(INDICES, [3, 0, 1])
    assert len(uneven) == 5  # 5 samples of the third, one at a time
    assert all([INDICES[index] for index in batch] == [0, 0, 0, 2] for batch in uneven)
    short = list(BalancedModalityBatchSampler([0, 1], 3))
    assert [[int(index) for index in batch] for batch in short] == [[0, 0, 0, 1, 1, 1]]
    assert [index.draw for index in short[0]] == [0, 1, 2, 0, 1, 2]


def test_order_depends_on_seed_and_epoch_alone():
    first = BalancedModalityBatchSampler(INDICES, 2, seed=1)
    epochs = []
    for epoch in range(3):
        first.set_epoch(epoch)
        epochs.append(list(first))
    resumed = BalancedModalityBatchSampler(torch.tensor(INDICES), 2, seed=1)
    resumed.set_epoch(2)
    assert list(resumed) == epochs[2]
    assert epochs[0] != epochs[1]
    assert list(BalancedModalityBatchSampler(INDICES, 2, seed=2)) != epochs[0]
    resumed.set_epoch(0)
    assert [list(resumed) == epochs[0], list(resumed) == epochs[0]] == [True, False]  # a second pass is another


def test_draws_of_one_sample_are_numbered_without_repeats():
    sampler = BalancedModalityBatchSampler(INDICES, 2, epoch_length=10)
    drawn = Counter((int(index), index.draw) for _ in range(3) for batch in sampler for index in batch)
    assert max(drawn.values()) == 1


def test_more_of_one_modality_leaves_the_order_of_another():
    few = list(BalancedModalityBatchSampler([0] * 4 + [1] * 4, 2, 2))
    many = list(BalancedModalityBatchSampler([0] * 4 + [1] * 9, 2, 2))
    assert [batch[:2] for batch in few] == [batch[:2] for batch in many]


@pytest.mark.parametrize("replicas", [2, 3])
def test_processes_share_an_epoch(replicas):
    parts = [BalancedModalityBatchSampler(INDICES, 1, num_replicas=replicas, rank=rank) for rank in range(replicas)]
    batches = [list(part) for part in parts]
    length = -(-7 // replicas)
    assert [len(part) for part in parts] == [len(mine) for mine in batches] == [length] * replicas
    counts = Counter(index for mine in batches for batch in mine for index in batch)
    for modality in range(3):
        mine = [counts[place] for place, one in enumerate(INDICES) if one == modality]
        assert sum(mine) == length * replicas
        assert max(mine) - min(mine) <= 1
    for rank_batches in batches:
        assert all([INDICES[index] for index in batch] == [0, 1, 2] for batch in rank_batches)


def test_in_a_loader_the_engine_sets_the_epoch():
    data = [{"x": torch.tensor(place)} for place in range(len(INDICES))]
    sampler = BalancedModalityBatchSampler(INDICES, 2, seed=4)
    loader = DataLoader(data, batch_sampler=sampler)
    orders = []
    for epoch in (0, 1, 0):
        seed_data(loader, 4, epoch)
        orders.append([batch["x"].tolist() for batch in loader])
    assert orders[0] == orders[2] != orders[1]


def test_indices_survive_pickling_and_count_as_numbers():
    index = pickle.loads(pickle.dumps(RepeatedIndex(5, 3)))
    assert (index, index.draw, index + 1, range(9)[index]) == (5, 3, 6, 5)


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ([], {}, "one at least"),
        ([0.5], {}, "the number of the modality of each sample"),
        ([0, -1], {}, "the number of the modality"),
        (SimpleNamespace(modality_indices=["ct"]), {}, "got SimpleNamespace"),
        ([0, 1], {"batch_size": 0}, "a number from 1, or one from 0 for each of 2 modalities, got 0"),
        ([0, 1], {"batch_size": [2]}, r"for each of 2 modalities, got \[2\]"),
        ([1, 1], {"batch_size": [2, 0]}, r"draw from one of the modalities \[1\], got \[2, 0\]"),
        ([0, 1], {"batch_size": {"ct": 1}}, "one for each modality in order, got {'ct': 1}"),
        ([0, 1], {"epoch_length": 0}, "epoch_length must be at least 1, got 0"),
        ([0, 1], {"num_replicas": 2, "rank": 2}, r"rank must be in \[0, 2\), got 2"),
    ],
)
def test_refuses(source, arguments, message):
    with pytest.raises(ValueError, match=message):
        BalancedModalityBatchSampler(source, **arguments)
