# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Files and folders appear when they are whole; what killed processes left is removed, what others write is not."""

import os
import platform
import subprocess
import sys

import pytest

from monai_mmseg.files import ABANDONED, atomic_folder, atomic_path, is_unfinished, remove_leftovers

WRITE = """
import os, sys
from monai_mmseg.files import atomic_folder, atomic_path
with atomic_folder(sys.argv[1] + "/packed") as folder, atomic_path(sys.argv[1] + "/s.1_seg.nii.gz") as file:
    (folder / "a").write_text("half")
    file.write_text("half")
    print(file.name, flush=True)
    os.kill(os.getpid(), 9)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_process_leaves_nothing_that_looks_whole(repository, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path)], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    left = names(tmp_path)
    assert len(left) == 2
    assert all(is_unfinished(name) for name in left)
    assert done.stdout.strip().endswith(".part.nii.gz")
    remove_leftovers(tmp_path, of="packed")
    assert names(tmp_path) == [done.stdout.strip()]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_what_others_write_stays(tmp_path):
    host = platform.node()
    alive = tmp_path / f".a.{host}@{os.getpid()}-0a.part"
    for path in (alive, tmp_path / ".b.elsewhere@1-0b.part.gz", tmp_path / ".0c.part.json", tmp_path / ".hidden"):
        path.touch()
    before = names(tmp_path)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == before
    for path in tmp_path.iterdir():
        os.utime(path, (0, path.stat().st_mtime - ABANDONED - 1))
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden"]
    remove_leftovers(tmp_path / "lost")


@pytest.mark.parametrize("whole", [atomic_path, atomic_folder])
def test_what_fails_leaves_nothing(whole, tmp_path):
    def write():
        with whole(tmp_path / "a") as part:
            (part / "b" if part.is_dir() else part).touch()
            raise RuntimeError("while writing")

    with pytest.raises(RuntimeError, match="while writing"):
        write()
    assert names(tmp_path) == []


def test_a_folder_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("a", "link"):
        with pytest.raises(FileExistsError, match="must not exist, but it is there"), atomic_folder(tmp_path / name):
            pass
    assert names(tmp_path) == ["a", "link"]
