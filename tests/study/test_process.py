# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monai_mmseg.study import process

TOLD = (
    "import os, sys, torch, pathlib, time\n"
    "print(sys.argv[1:], pathlib.Path.cwd().name, os.environ['TOLD'], torch.get_num_threads(), __name__)\n"
    "begun = time.process_time()\n"
    "while time.process_time() < begun + 0.1: pass\n"
    "print('an error', file=sys.stderr)\n"
    "sys.exit(3 if 'fail' in sys.argv else 0)\n"
)


@pytest.fixture(autouse=True)
def nothing_imported(monkeypatch):
    monkeypatch.setattr(process, "IMPORTED", ("json",))


@pytest.mark.skipif(not process.WARM, reason="processes cannot be forked here")
def test_a_module_runs_in_its_folder_with_its_words_and_says_so_in_its_log(tmp_path):
    (tmp_path / "told.py").write_text(TOLD)
    log, given = tmp_path / "log", {"folder": tmp_path, "environment": {"TOLD": "yes"}}
    used = process.run_module("told", ["a"], log, **given)
    assert log.read_text().splitlines() == [f"['a'] {tmp_path.name} yes 1 __main__", "an error"]
    assert used.cpu >= 0.1
    with pytest.raises(process.CommandError, match=f"status 3; its log is {re.escape(str(log))}. It says: .*an error"):
        process.run_module("told", ["b", "fail"], log, **given)


def test_a_program_is_timed_and_its_failure_names_the_log(tmp_path):
    log, given = tmp_path / "log", {"folder": tmp_path, "environment": {"WORD": "yes"}}
    busy = "import os, time\nwhile time.process_time() < 0.2: pass\nprint(os.environ['WORD'])"
    assert process.run_program([sys.executable, "-c", busy], log, **given).cpu >= 0.2
    with pytest.raises(process.CommandError, match=r"It says: .*gone"):
        process.run_program([sys.executable, "-c", "raise SystemExit('gone')"], log, append=True, **given)
    assert log.read_text().split() == ["yes", "gone"]
    chain = "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise RuntimeError('wrapped') from error"
    with pytest.raises(process.CommandError, match="It says: ZeroDivisionError: division by zero"):
        process.run_program([sys.executable, "-c", chain], log, **given)


@pytest.mark.skipif(not process.WARM, reason="processes cannot be forked")
def test_an_interrupt_ends_commands_and_not_the_process_that_imports(tmp_path):
    (tmp_path / "slow.py").write_text("import time; time.sleep(2)", encoding="utf-8")
    (tmp_path / "stopped.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)", encoding="utf-8")
    program = f"""
import os, signal
from multiprocessing import forkserver
from pathlib import Path
from monai_mmseg.study import process
process.IMPORTED = ("slow",)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
if __name__ == "__main__":
    process.warm_up()
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGINT)
    place = Path({str(tmp_path)!r})
    try:
        process.run_module("stopped", [], place / "log", folder=place, environment={{}})
    except process.CommandError:
        print("stopped")
"""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    root = str(Path(process.__file__).parents[2])
    found = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout, found.stderr) == ("stopped\n", "")
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text(encoding="utf-8")
