# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The line of the demonstration: shares of stages, time left, and quiet logs."""

import io
import logging
import time

import pytest

from benchmarks import progress as module
from benchmarks.progress import Counted, Progress, trained_share


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_shares_are_weighted_and_time_is_corrected(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    progress = Progress({"a": 60.0, "b": 40.0}, stream=io.StringIO())
    share = [0.0]
    with progress.stage("a", lambda: share[0]):
        assert progress.line() == "a  0 %, 1:40 left"
        now[0], share[0] = 60.0, 0.5  # half as fast as expected: pace (60 + 10) / (30 + 10)
        assert progress.line() == "a  30 %, 2:02 left"
    with progress.stage("b", lambda: 0.0):
        assert progress.line().startswith("b  60 %")


def test_what_an_earlier_call_did_says_nothing_about_the_pace(monkeypatch):
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.0)
    progress = Progress({"a": 90.0, "b": 10.0}, stream=io.StringIO())
    with progress.stage("a", lambda: 0.9):
        assert progress.line() == "a  81 %, 0:19 left"


@pytest.mark.parametrize("screen", [True, False])
def test_a_terminal_has_one_line_and_a_log_few(monkeypatch, screen):
    monkeypatch.setattr(module, "ON_SCREEN", 0.01)
    stream = Screen() if screen else io.StringIO()
    progress = Progress({"a": 1.0}, stream=stream)
    with progress.stage("a", lambda: 0.5):
        time.sleep(0.2)
        progress.say("stays")
    text = stream.getvalue()
    if screen:
        assert text.count("\n") == 1
        assert "\r\x1b[Kstays\n" in text
        assert text.endswith("\r\x1b[K")
    else:
        assert text == "stays\n"


def test_an_error_ends_the_line():
    progress = Progress({"a": 1.0}, stream=Screen())
    with pytest.raises(RuntimeError, match="full disk"), progress.stage("a", lambda: 0.0):
        raise RuntimeError("full disk")
    assert progress.done["a"] == 0


def test_counted():
    counted = Counted("test_progress.counted", 4)
    logging.getLogger("test_progress.counted.child").info("one")
    assert counted.share() == 0.25
    counted.logger.removeHandler(counted)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("training epochs 1 to 4, 10 steps each\n", 0.0),
        ("epoch 1/4  loss 3.0  2 steps/s\n", 0.225),  # 0.9 / 4
        ("epoch 1/4  loss 3.0\nepoch 2/4  step 5/10  2 steps/s\n", 0.3375),  # 0.9 * 1.5 / 4
        ("all 4 epochs were trained before: nothing to do\n", 0.9),
    ],
)
def test_trained_share(tmp_path, text, share):
    (tmp_path / "training.log").write_text(text)
    assert trained_share(tmp_path) == pytest.approx(share)
    (tmp_path / "seconds.json").write_text("{}")
    assert trained_share(tmp_path) == 1
