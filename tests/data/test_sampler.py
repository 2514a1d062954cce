# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_mmseg.data import EpochRandomSampler


def test_an_epoch_is_a_permutation_and_the_next_another():
    sampler = EpochRandomSampler(range(20), seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first == list(sampler)
    assert first != second
    assert first != list(EpochRandomSampler(range(20), seed=2))


def test_second_pass_in_an_epoch_has_its_own_order():
    sampler = EpochRandomSampler(range(20))
    assert list(sampler) != list(sampler)


@pytest.mark.parametrize(("samples", "whole"), [(3, 0), (8, 1), (17, 2)])
def test_epochs_of_another_length(samples, whole):
    order = list(EpochRandomSampler(range(8), num_samples=samples))
    assert len(order) == samples
    for i in range(whole):
        assert sorted(order[8 * i : 8 * (i + 1)]) == list(range(8))
    assert len(set(order[8 * whole :])) == samples - 8 * whole


def test_processes_share_an_epoch():
    parts = [EpochRandomSampler(range(7), num_replicas=2, rank=rank) for rank in range(2)]
    orders = [list(part) for part in parts]
    assert [len(part) for part in parts] == [len(order) for order in orders] == [4, 4]
    interleaved = [index for pair in zip(*orders, strict=True) for index in pair]
    # the order of one process, filled up to an even number
    assert interleaved[:7] == list(EpochRandomSampler(range(7)))


def test_order_of_the_data():
    assert list(EpochRandomSampler(range(3), num_samples=5, shuffle=False)) == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ([], {}, "at least one sample"),
        ([1], {"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ([1], {"num_replicas": 2, "rank": 2}, r"rank must be in \[0, 2\), got 2"),
    ],
)
def test_refuses(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        EpochRandomSampler(data, **arguments)
