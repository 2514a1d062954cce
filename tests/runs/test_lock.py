# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from monai_mmseg.runs import lock as module
from monai_mmseg.runs.lock import LOCK, FolderInUse, FolderLock

LOAD = f"""
import os, runpy, sys, time
globals().update(runpy.run_path({module.__file__!r}))
"""  # without the rest of the package, which takes seconds to import
HOLD = f"""{LOAD}
FolderLock(sys.argv[1]).acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_process_that_runs_keeps_its_folder(holder, tmp_path):
    for refuse in (FolderLock(tmp_path).check, FolderLock(tmp_path).acquire):
        with pytest.raises(FolderInUse, match=rf"is in use: process {holder.pid} on .* Wait for it, stop it, or name"):
            refuse()
    assert json.loads((tmp_path / LOCK).read_text(encoding="utf-8"))["pid"] == holder.pid


def test_the_lock_of_a_killed_process_is_taken_over_and_said(holder, tmp_path, caplog):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    lock = FolderLock(tmp_path)
    lock.acquire()
    assert f"left locked by process {holder.pid}" in caplog.text
    assert json.loads((tmp_path / LOCK).read_text(encoding="utf-8"))["pid"] == os.getpid()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def write_lock(folder, **owner):
    (folder / LOCK).write_text(json.dumps({"pid": os.getpid(), "host": "here", "born": 0, "since": "then", **owner}))


def test_a_number_that_another_process_has_now_is_no_owner(tmp_path):
    import socket

    if not os.path.exists("/proc/self/stat"):
        pytest.skip("the system does not say when a process began")
    write_lock(tmp_path, host=socket.gethostname(), born=1)
    FolderLock(tmp_path).acquire()


def test_another_machine_is_believed_while_it_touches_its_lock(tmp_path):
    write_lock(tmp_path, host="elsewhere")
    with pytest.raises(FolderInUse, match="on elsewhere"):
        FolderLock(tmp_path).acquire()
    old = time.time() - 600
    os.utime(tmp_path / LOCK, (old, old))
    FolderLock(tmp_path).acquire()


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_lock_that_says_nothing_is_taken(text, tmp_path):
    (tmp_path / LOCK).write_text(text)
    FolderLock(tmp_path).acquire()
    assert json.loads((tmp_path / LOCK).read_text(encoding="utf-8"))["pid"] == os.getpid()


def test_of_many_processes_one_gets_it(tmp_path):
    """Beside the lock of a process that is gone, which all of them want to take over."""
    import socket

    write_lock(tmp_path, host=socket.gethostname(), pid=2**22 + 1)
    code = f"{LOAD}while not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.001)\n"
    code += "try:\n    FolderLock(sys.argv[1]).acquire(); print('got', flush=True); time.sleep(3)\n"
    code += "except FolderInUse: print('refused', flush=True)\n"
    made = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(4)]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    said = sorted(one.communicate(timeout=60)[0].decode().strip() for one in made)
    assert said == ["got", "refused", "refused", "refused"]
