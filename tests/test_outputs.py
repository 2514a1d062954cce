# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from monai_mmseg.outputs import check_output_file, check_output_folder, new_files, write_new_json


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_files_appear_together(tmp_path):
    with new_files(tmp_path / "a" / "out") as stage:
        (stage / "sub").mkdir()
        (stage / "sub" / "x.txt").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert names(tmp_path) == ["a", "a/out", "a/out/sub", "a/out/sub/x.txt"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(FileExistsError), new_files(tmp_path / "out") as stage:
        (stage / "x.txt").mkdir(exist_ok=(stage / "x.txt").write_text("x") == 0)
    assert names(tmp_path) == []


@pytest.mark.parametrize("there", [False, True])
def test_a_kill_leaves_nothing_that_counts_and_the_next_call_cleans(tmp_path, there):
    if there:
        (tmp_path / "out").mkdir()
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom monai_mmseg.outputs import new_files\n"
        "with new_files(sys.argv[1]) as stage:\n"
        "    Path(stage, 'x.txt').write_text('x')\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    check_output_folder(tmp_path / "out")  # what is left does not count
    left = [path for path in tmp_path.rglob(".new_files.*") if path.is_dir()]
    assert len(left) == 1
    with new_files(tmp_path / "out") as stage:
        (stage / "y.txt").write_text("y")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["y.txt"]
    assert not list(tmp_path.rglob(".new_files.*"))


def test_work_of_another_process_stays(tmp_path):
    host = re.sub(r"[^\w-]", "_", platform.node())
    other = tmp_path / f".new_files.{host}@{os.getppid()}-12345678.part"
    elsewhere = tmp_path / ".new_files.elsewhere@1-12345678.part"
    for folder in (other, elsewhere):
        folder.mkdir()
    with new_files(tmp_path / "out") as stage:
        (stage / "y.txt").write_text("y")
    assert other.exists()
    assert elsewhere.exists()


def test_nothing_is_replaced_unless_asked(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert check_output_folder(out) == out  # it is empty
    (out / "x.txt").write_text("old")
    (out / "other.txt").write_text("other")
    with pytest.raises(FileExistsError, match=r"out is not empty; name another one, or overwrite it \(--overwrite"):
        check_output_folder(out)
    with pytest.raises(FileExistsError, match=r"out/x.txt is there already; name another"), new_files(out) as stage:
        (stage / "x.txt").write_text("new")
    assert (out / "x.txt").read_text() == "old"
    with new_files(check_output_folder(out, overwrite=True), overwrite=True) as stage:
        (stage / "x.txt").write_text("new")
    assert (out / "x.txt").read_text() == "new"
    assert names(out) == ["other.txt", "x.txt"]


def test_one_file(tmp_path):
    path = write_new_json(tmp_path / "a" / "x.json", {"a": 1})
    with pytest.raises(FileExistsError, match=r"x.json is there already; name another one, or overwrite it"):
        write_new_json(path, {"a": 2})
    assert path.read_text() == '{\n "a": 1\n}\n'
    write_new_json(path, {"a": 2}, overwrite=True)
    assert path.read_text() == '{\n "a": 2\n}\n'


def test_places_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    for check in (check_output_file, check_output_folder):
        with pytest.raises(NotADirectoryError, match=r"file/a/b cannot be written, since .*file is a file\.$"):
            check(tmp_path / "file" / "a" / "b")
    with pytest.raises(NotADirectoryError, match=r"file is a file, a folder is to be written\.$"):
        check_output_folder(tmp_path / "file", overwrite=True)
    with pytest.raises(IsADirectoryError, match="is a folder, a file is to be written; name a file in it"):
        check_output_file(tmp_path, overwrite=True)


def test_what_the_system_says_becomes_a_sentence(tmp_path):
    with (
        pytest.raises(OSError, match=r"^.*out cannot be written: No space left on device\.$"),
        new_files(tmp_path / "out"),
    ):
        raise OSError(28, "No space left on device")
    # an error about something else keeps its own words
    with pytest.raises(FileNotFoundError, match=r"no/such/file"), new_files(tmp_path / "out"):
        Path("no/such/file").read_text()
    with pytest.raises(FileNotFoundError, match=r"^s1: no such file\.$"), new_files(tmp_path / "out"):
        raise FileNotFoundError("s1: no such file.")
