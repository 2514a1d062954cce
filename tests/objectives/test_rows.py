# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import itertools

import pytest
import torch

from monai_mmseg.objectives.rows import paired_rows


def brute_force(present, k):
    """The same lists, written as loops over what the docstring promises."""
    batch, modalities = present.shape
    own = [(m, b) for m in range(modalities) for b in range(batch) if present[b, m]]
    stack = {(m, b, c): (own.index((m, b)) * k + c) for m, b in own for c in range(k)}
    pairs = [(i, j) for i, j in itertools.permutations(range(modalities), 2)]
    pairs.sort()
    moved = [
        (p, i, j, b, c)
        for p, (i, j) in enumerate(pairs)
        for b in range(batch)
        if present[b, i] and present[b, j]
        for c in range(k)
    ]
    return {
        "own": [stack[m, b, 0] for m, b in own],
        "moving": [stack[i, b, c] for _, i, _, b, c in moved],
        "fixed": [stack[j, b, 0] for _, _, j, b, _ in moved],
        "fixed_own": [own.index((j, b)) for _, _, j, b, _ in moved],
        "sample": [b for _, b in own] + [b for *_, b, _ in moved],
        "frame": [m for m, _ in own] + [j for _, _, j, _, _ in moved],
        "branch": [m for m, _ in own] + [modalities + p for p, *_ in moved],
        "first": list(range(len(own))) + [len(own) + n for n, (*_, c) in enumerate(moved) if c == 0],
    }


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
def test_rows_equal_the_loops_for_random_masks(modalities, k):
    for seed in range(5):
        present = torch.rand(4, modalities, generator=torch.Generator().manual_seed(seed)) > 0.4
        rows, expected = paired_rows(present, k), brute_force(present, k)
        for name, values in expected.items():
            assert getattr(rows, name).tolist() == values, name
        assert rows.num_branches == modalities * modalities


def test_nothing_present_gives_empty_rows():
    rows = paired_rows(torch.zeros(2, 2, dtype=torch.bool))
    assert len(rows.own) == len(rows.moving) == len(rows.sample) == 0
    assert [len(index) for index in rows.frames] == [0, 0]


def test_errors_name_what_came():
    with pytest.raises(ValueError, match=r"present must be a bool tensor \(B, M\), got torch.float32 of shape \(2,\)"):
        paired_rows(torch.ones(2))
    with pytest.raises(ValueError, match="candidates must be at least 1, got 0"):
        paired_rows(torch.ones(1, 2, dtype=torch.bool), 0)
