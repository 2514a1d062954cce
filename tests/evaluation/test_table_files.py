# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from monai_mmseg.evaluation.table_files import markdown_row, plain_number, read_table_json, write_text


def test_rows_survive_any_text():
    assert markdown_row(["a|b", "two\nlines"]) == "| a\\|b | two lines |"


def test_only_infinite_numbers_become_text():
    assert [plain_number(value) for value in (math.inf, -math.inf, 1.5, 3, None, "x")] == [
        "inf",
        "-inf",
        1.5,
        3,
        None,
        "x",
    ]


def test_text_and_format(tmp_path):
    path = tmp_path / "a.json"
    assert write_text('{"format": "a/1"}', path) == path.read_text(encoding="utf-8")
    assert read_table_json(path, "a/1") == {"format": "a/1"}
    with pytest.raises(ValueError, match="format 'b/1', got 'a/1'"):
        read_table_json(path, "b/1")
    write_text("[]", path)
    with pytest.raises(ValueError, match="got 'list'"):
        read_table_json(path, "b/1")
    write_text("nonsense", path)
    with pytest.raises(ValueError, match="source must be JSON"):
        read_table_json(path, "b/1")
