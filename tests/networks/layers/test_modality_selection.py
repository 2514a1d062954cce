# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_mmseg.networks.layers.modality_selection import (
    ModalitySelection,
    active_selection,
    select_modality,
    selection_active,
)

NAMES = ["ct", "mr", "us"]


@pytest.mark.parametrize(
    "modality", ["mr", 1, np.int64(1), torch.tensor(1), [1, 1], ["mr", "mr"], torch.tensor([1, 1])]
)
def test_ways_to_name_one(modality):
    assert select_modality(modality, NAMES, "us", 2) == ModalitySelection("mr")


def test_none_and_no_rows_are_the_default():
    assert select_modality(None, NAMES, "us", 2).modality == "us"
    assert select_modality([], NAMES, "us", 0).modality == "us"


@given(st.lists(st.integers(0, 2), min_size=2, max_size=12))
def test_rows_come_back_in_order(rows):
    selection = select_modality(np.array(rows), NAMES, "ct", len(rows))
    batch = torch.arange(len(rows))
    if len(set(rows)) == 1:
        assert selection.modality == NAMES[rows[0]]
        return
    parts = selection.gather(batch)
    assert selection.rows == len(rows)
    assert {name: part.tolist() for name, part in parts.items()} == {
        NAMES[m]: [i for i, row in enumerate(rows) if row == m] for m in set(rows)
    }
    assert torch.equal(selection.scatter(parts), batch)


def test_neighbours_are_not_copied():
    batch = torch.rand(4, 2)
    parts = select_modality([2, 2, 0, 0], NAMES, "ct").gather(batch)
    assert parts["us"].data_ptr() == batch.data_ptr()
    assert parts["ct"].data_ptr() == batch[2:].data_ptr()


def test_selection_is_of_its_thread_and_ends_with_its_block():
    seen = []
    with selection_active(ModalitySelection("ct")):
        with selection_active(ModalitySelection("mr")):
            thread = threading.Thread(target=lambda: seen.append(active_selection()))
            thread.start()
            thread.join()
            seen.append(active_selection().modality)
        seen.append(active_selection().modality)
        with pytest.raises(KeyError), selection_active(ModalitySelection("us")):
            raise KeyError
        seen.append(active_selection().modality)
    assert [*seen, active_selection()] == [None, "mr", "ct", "ct", None]


@pytest.mark.parametrize(
    ("modality", "error", "message"),
    [
        ("pet", ValueError, r"unknown modality 'pet'; known are 'ct' \(0\), 'mr' \(1\), 'us' \(2\)"),
        (3, ValueError, "unknown modality 3; known are"),
        (-1, ValueError, "unknown modality -1; known are"),
        ([0, "pet"], ValueError, "unknown modality 'pet'"),
        ([0, 1, 1], ValueError, "each of the 2 rows of the batch, got 3"),
        (True, TypeError, "a name or an index, got True"),
        (1.0, TypeError, "a name or an index, got 1.0"),
        (torch.tensor([0.0, 1.0]), TypeError, r"integer tensor of shape \(B,\), got torch.float32"),
        (torch.tensor([[0], [1]]), TypeError, r"integer tensor of shape \(B,\), got torch.int64 \(2, 1\)"),
    ],
)
def test_errors(modality, error, message):
    with pytest.raises(error, match=message):
        select_modality(modality, NAMES, "ct", 2)
