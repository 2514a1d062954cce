# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from monai_mmseg.files import atomic_path, atomic_save, read_json, read_record, write_json, write_text


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = atomic_save({"a": 1}, tmp_path / "x.pt")
    with pytest.raises(Exception, match="pickle"):
        atomic_save({"a": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.pt"]


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = atomic_save({"a": 1}, tmp_path / "x.pt")

    def full(content, part):
        part.write_bytes(b"half of it")
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"x\.pt cannot be written, and \d+ MB are free there: basic_ios") as caught:
        atomic_save({"a": 2}, path)
    assert caught.value.__suppress_context__  # a log's first error is what a study repeats
    assert torch.load(path, weights_only=True) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.pt"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
@pytest.mark.parametrize("write", [lambda path: atomic_save(1, path), lambda path: write_text(path, "1")])
def test_permissions_are_those_of_the_umask_which_is_left_alone(tmp_path, monkeypatch, write, umask, mode):
    change = os.umask
    old = change(umask)
    try:
        # other threads write files meanwhile
        monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask is of the whole process"))
        assert (write(tmp_path / "new" / "x").stat().st_mode & 0o777) == mode
    finally:
        change(old)


def test_a_number_that_json_has_not_leaves_the_old_file(tmp_path):
    path = write_json(tmp_path / "x.json", {"a": "ä"})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text(encoding="utf-8") == '{\n "a": "ä"\n}\n'


def test_two_writers_do_not_clash(tmp_path):
    path = tmp_path / "x.txt"
    with atomic_path(path) as first:
        first.write_text("first")
        with atomic_path(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_threads_write_one_file(tmp_path):
    texts = [f"{number}" * 5000 for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            list(pool.map(lambda text: write_text(tmp_path / "x.txt", text), texts))
            assert (tmp_path / "x.txt").read_text() in texts
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ('{"a": NaN}', "JSON has no NaN"),
        (r'{"a": "\ud800"}', "a text in it is broken"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_is_read_without_guessing(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=f"x.json: not a JSON file.*{message}"):
        read_json(tmp_path / "x.json")
    assert read_record(tmp_path / "x.json") == {}


def test_a_record_is_an_object(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    assert (read_json(tmp_path / "x.json"), read_record(tmp_path / "x.json")) == ([], {})
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": "\\u00e4"}')  # with the mark that some editors write
    assert read_record(tmp_path / "x.json") == {"a": "\u00e4"}
