# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks import warm

pytestmark = pytest.mark.skipif(not warm.WARM, reason="processes cannot be forked here")


@pytest.fixture(autouse=True)
def nothing_imported(monkeypatch):
    monkeypatch.setattr(warm, "IMPORTED", ("json",))


def test_a_module_runs_in_its_folder_with_its_words_and_says_so_in_its_log(tmp_path):
    (tmp_path / "told.py").write_text(
        "import os, sys, torch, pathlib\n"
        "print(sys.argv[1:], pathlib.Path.cwd().name, os.environ['TOLD'], torch.get_num_threads(), __name__)\n"
        "print('an error', file=sys.stderr)\n"
        "sys.exit(3 if 'fail' in sys.argv else 0)\n"
    )
    log = tmp_path / "log"
    for words, status in ([("a",), 0], [("b", "fail"), 3]):
        assert warm.run_module("told", words, tmp_path, log, {"TOLD": "yes", "PYTHONPATH": str(tmp_path)}, 1) == status
        assert log.read_text().splitlines() == [f"{list(words)} {tmp_path.name} yes 1 __main__", "an error"]
