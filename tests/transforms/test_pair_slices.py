# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from monai_mmseg.transforms import candidate_slices, candidate_window, pair_slices, pairs_from_table, random_pairing
from tests.synthetic_volumes import rotation


@pytest.fixture(scope="module")
def misc(reference):
    return np.load(reference / "dafnet_misc.npz")


@pytest.mark.parametrize("modality", [0, 1])
def test_windows_are_those_of_the_original(misc, modality):
    volumes = misc["cand_volume_index"]
    for row, expected in enumerate(misc[f"cand_mod{modality}_window5"].astype(int).tolist()):
        slices = int((volumes == volumes[row]).sum())
        assert candidate_window(expected[0], slices) == expected


@pytest.mark.parametrize("modality", [0, 1])
def test_random_candidates_are_those_of_the_original(misc, modality):
    volumes, windows = misc["cand_volume_index"], misc[f"cand_mod{modality}_window5"].astype(int)
    state = np.random.RandomState(int(misc["cand_pick3_seed"]))
    rows = [
        candidate_slices(
            [int(windows[row, 0])], int((volumes == volumes[row]).sum()), 3, choice="random", random_state=state
        )
        for row in range(len(volumes))
    ]
    np.testing.assert_array_equal(np.concatenate(rows), misc[f"cand_mod{modality}_pick3_seeded"])


def test_shifted_pairs_are_those_of_the_original(misc):
    volumes = misc["cand_volume_index"]
    state = np.random.RandomState(int(misc["randomise_length2_seed"]))
    shifted = [
        random_pairing(np.arange(count), count, 2, state)
        for count in (int((volumes == volume).sum()) for volume in np.unique(volumes))
    ]
    np.testing.assert_array_equal(np.concatenate(shifted), misc["randomise_mod0_slice"])


def test_a_shift_out_of_the_volume_is_drawn_again():
    # of (-2, 1, -1, -2) the first leaves slice 0 downwards and the last slice 1: one draw each, among what stays inside
    state = np.random.RandomState(0)
    assert state.randint(-2, 2, 4).tolist() == [-2, 1, -1, -2]
    again = state.randint(0, 2), 1 + state.randint(-1, 2)
    assert random_pairing([0, -1, 1, 1], 4, 2, np.random.RandomState(0)).tolist() == [again[0], -1, 0, again[1]]
    # of (1, 0, 1) at the end of a volume those beyond it are drawn from the end on
    seed = next(n for n in range(99) if np.random.RandomState(n).randint(-2, 2, 3).tolist() == [1, 0, 1])
    state = np.random.RandomState(seed)
    state.randint(-2, 2, 3)
    last, first = 3 + state.randint(-2, 1), 3 + state.randint(-2, 1)
    assert random_pairing([3, 3, 3], 4, 2, np.random.RandomState(seed)).tolist() == [first, 3, last]


@pytest.mark.parametrize(("center", "reached"), [(0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2, 3]), (4, [2, 3, 4])])
def test_all_slices_in_reach_are_equally_likely(center, reached):
    places = random_pairing([center] * 3000, 5, 2, np.random.RandomState(3))
    found, counts = np.unique(places, return_counts=True)
    assert found.tolist() == reached
    assert chisquare(counts).pvalue > 1e-3


def test_a_volume_of_one_slice_has_one_partner():
    assert random_pairing([0, -1, 0], 1, 50).tolist() == [0, -1, 0]


def test_pairs_by_position_worked_out_by_hand():
    fixed = np.diag([1.0, 1.0, 10.0, 1.0])  # slices at 0, 10, 20, 30 mm
    moving = np.diag([2.0, 2.0, 8.0, 1.0])
    moving[2, 3] = 5.0  # slices at 5, 13, 21 mm
    pairs = pair_slices(fixed, 4, moving, 3, max_distance=4.5)
    assert pairs.partner.tolist() == [-1, 1, 2, -1]
    np.testing.assert_allclose(pairs.distance, [5, 3, 1, 9])
    assert pair_slices(fixed, 4, moving, 3).partner.tolist() == [0, 1, 2, 2]


def test_storage_order_of_the_moving_volume_is_seen():
    fixed = np.diag([1.0, 1.0, 8.0, 1.0])
    moving = np.diag([1.0, 1.0, -8.0, 1.0])
    moving[2, 3] = 24.0
    assert pair_slices(fixed, 4, moving, 4).partner.tolist() == [3, 2, 1, 0]


def test_tilted_stacks_are_compared_at_the_centre():
    fixed = np.diag([1.0, 1.0, 8.0, 1.0])
    center = (50.0, 50.0)
    turned = np.eye(4)
    turned[:3, :3] = rotation(10, 0, 0)
    about = np.eye(4)
    about[:3, 3] = [50, 50, 16]
    moving = about @ turned @ np.linalg.inv(about) @ fixed
    assert pair_slices(fixed, 5, moving, 5, center=center).partner.tolist() == [0, 1, 2, 3, 4]
    assert pair_slices(fixed, 5, moving, 5, center=(50.0, 0.0)).partner.tolist() != [0, 1, 2, 3, 4]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.floats(2, 12), st.floats(2, 12), st.floats(-40, 40))
def test_the_partner_is_the_nearest_slice(fixed_slices, moving_slices, fixed_pitch, moving_pitch, offset):
    fixed, moving = np.diag([1.0, 1.0, fixed_pitch, 1.0]), np.diag([1.0, 1.0, moving_pitch, 1.0])
    moving[2, 3] = offset
    pairs = pair_slices(fixed, fixed_slices, moving, moving_slices)
    gaps = np.abs(fixed_pitch * np.arange(fixed_slices)[:, None] - (offset + moving_pitch * np.arange(moving_slices)))
    np.testing.assert_allclose(pairs.distance, gaps.min(1), atol=1e-4)
    np.testing.assert_allclose(gaps[np.arange(fixed_slices), pairs.partner], gaps.min(1), atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.sampled_from(["nearest", "random"]), st.integers(0, 5))
def test_candidates_stay_in_the_volume_and_start_with_the_pair(slices, count, choice, seed):
    index = np.arange(-1, slices)
    rows = candidate_slices(index, slices, count, choice=choice, random_state=np.random.RandomState(seed))
    assert rows.shape == (slices + 1, count)
    assert (rows[0] == -1).all()
    assert (rows[:, 0] == index).all()
    assert ((rows[1:] >= 0) & (rows[1:] < slices)).all()
    # inside the volume the window holds at most the 4 neighbours; repeats occur only where it has fewer slices
    assert all(len(set(row)) == min(count, slices) for row in rows[1:].tolist())


def test_a_table_names_pairs_and_refuses_slices_that_are_not_there():
    assert pairs_from_table([(0, 2), (3, 0)], 4, 3).tolist() == [2, -1, -1, 0]
    with pytest.raises(ValueError, match="names slices 4 -> 0, the volumes have 4 and 3 slices"):
        pairs_from_table({"4": 0}, 4, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: candidate_window(5, 5), "index must lie in 0..4, got 5"),
        (lambda: candidate_slices([0], 5, 6), "num_candidates must lie in 1..5"),
        (lambda: candidate_slices([0], 5, 2, choice="closest"), "got 'closest'"),
        (lambda: random_pairing([0], 5, 0), "length must be at least 1, got 0"),
        (lambda: random_pairing([5], 5, 2), r"index must lie in -1\.\.4, got 5"),
        (lambda: pair_slices(np.eye(4), 0, np.eye(4), 3), "must have slices, got 0 and 3"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
