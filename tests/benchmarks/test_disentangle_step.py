# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from benchmarks.speed.disentangle_step import VARIANTS, count, decoder_operations, make_loop, operations

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def loops():
    return {name: make_loop(name, small=True, batch=2, device=CPU) for name in VARIANTS}


def terms(loop):
    loop.objective.eval()
    found = loop.objective(loop.batch, "generator").terms
    loop.objective.train()
    return found


@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_what_is_slower_computes_the_same(loops, variant):
    expected = terms(loops["ours"])
    for name, value in terms(loops[variant]).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


def test_operations(loops):
    counted = {name: operations(loop) for name, loop in loops.items()}
    assert counted["neither"] > counted["kernels a sample"] > counted["ours"]
    assert counted["neither"] > counted["maps a drawing"] > counted["ours"]
    # each saving is one of its own
    assert counted["neither"] + counted["ours"] == counted["kernels a sample"] + counted["maps a drawing"]


def test_counting_needs_no_content(loops):
    found = count(small=True, batch=2)
    assert found["gflop_of_a_step"] == {name: round(operations(loop) / 1e9, 3) for name, loop in loops.items()}
    assert found["decoder_saving"] > 2


def test_operations_of_the_decoder_by_hand(loops):
    """Of 16 drawings a subject, 4 anatomies: the path of an anatomy has a quarter of its operations."""
    loop = loops["ours"]
    channels = loop.objective.network.anatomy_channels
    blocks, size = [(8, 8), (8, 8), (8, 8), (8, 8), (8, 4), (4, 4)], (1, 2)  # 32 x 64, halved five times
    maps = folding = drawn = 0
    for number, (cin, cout) in enumerate(blocks):
        height, width = (edge * 2**number for edge in size)
        drawn += 2 * 9 * height * width * cin * cout
        if height < 16:
            maps += 2 * 9 * height * width * cin * (channels + 2 * cin)
            continue
        # two kernels of 5 x 5, and along four edges three rows of the first convolution and two of the others
        maps += 2 * 2 * 25 * height * width * channels * cin
        maps += 2 * 9 * 2 * (height + width) * cin * (3 * channels + 2 * 2 * cin)
        folding += 2 * 2 * 25 * 9 * cin * cin * channels  # of the kernels, once for all anatomies
    drawn += 2 * 32 * 64 * 4 * 3 + 2 * 16 * 8 * 2  # the last convolution, the code
    contributed = 2 * 4 * maps + folding
    assert decoder_operations(loop) == {
        "once an anatomy": contributed + 2 * 16 * drawn, "once a drawing": 4 * contributed + 2 * 16 * drawn,
    }  # fmt: skip
