# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from benchmarks.cells import in_lanes, read_json, table_lines, write_json


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
