# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from benchmarks.cells import in_lanes, paired_tests, read_json, rounded, sd_over, table_lines, with_holm, write_json


def test_tests_of_pairs_and_their_correction():
    scores = {"a": [0.8, 0.9, 0.7, 0.85], "b": [0.7, 0.8, 0.65, 0.8], "c": [0.8, 0.9, 0.7, 0.85]}
    found = with_holm(paired_tests(scores, [("a", "b"), ("a", "c"), ("a", "absent")], scope="ct"))
    # all four subjects agree on a > b: 2 of 16 patterns of signs; a is c: every pattern
    assert [(t["a"], t["b"], t["scope"], t["p"], t["p_holm"]) for t in found] == [
        ("a", "b", "ct", 0.125, 0.25),
        ("a", "c", "ct", 1.0, 1.0),
    ]
    assert found[0]["difference"] == pytest.approx(0.075)


def test_no_test_is_no_error():
    assert with_holm(paired_tests({}, [("a", "b")])) == []


def test_lanes_run_every_job_and_raise_what_went_wrong():
    done = []

    def call(number: int) -> None:
        if number == 1:
            raise RuntimeError("job 1 fell")
        done.append(number)

    with pytest.raises(RuntimeError, match="job 1 fell"):
        in_lanes(call, [(number,) for number in range(4)], 2)
    assert sorted(done) == [0, 2, 3]


def test_table_and_files(tmp_path):
    assert table_lines(["name", "x"], [["a", "1"]]) == ["| name | x |", "| --- | ---: |", "| a | 1 |"]
    write_json(tmp_path / "new" / "cell.json", {"mean ±": 0.5})
    assert read_json(tmp_path / "new" / "cell.json") == {"mean ±": 0.5}


def test_rounding_reaches_all_numbers_and_leaves_the_rest():
    assert rounded({"a": [1 / 3, 2], "b": {"c": "x", "d": True}}, 2) == {"a": [0.33, 2], "b": {"c": "x", "d": True}}


def test_deviation_of_one_seed_is_zero():
    assert sd_over([0.5]) == 0.0
    assert sd_over([1.0, 3.0]) == pytest.approx(2**0.5)
