# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Calls in processes: order, errors, and nothing left behind."""

import os
import pickle
import subprocess

import pytest

from monai_mmseg import workers
from monai_mmseg.workers import in_workers

JOBS = [(base, 2) for base in range(5)]


@pytest.fixture
def started(monkeypatch):
    """Processes that were started; they are, however short the calls."""
    found, start = [], subprocess.Popen
    monkeypatch.setattr(workers, "WORTH", 0.0)
    monkeypatch.setattr(workers, "usable_cores", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: found.append(start(*args, **kwargs)) or found[-1])
    yield found
    assert all(process.returncode is not None for process in found)


def test_short_calls_stay_here(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert list(in_workers(pow, JOBS)) == [0, 1, 4, 9, 16]
    assert list(in_workers(pow, [])) == []


def test_results_in_order(started):
    assert list(in_workers(pow, JOBS)) == [0, 1, 4, 9, 16]
    assert len(started) == 2


def test_what_a_call_prints_is_no_result(started):
    assert list(in_workers(print, [("a",), ("b",), ("c",)])) == [None] * 3


def test_error_of_a_call_is_raised(started):
    with pytest.raises(ValueError, match="invalid literal for int"):
        list(in_workers(int, [("1",), ("2",), ("x",)]))
    assert started


def test_killed_process_is_told(started):
    with pytest.raises(RuntimeError, match="a worker process ended with status 3"):
        list(in_workers(_leave, [(0,), (3,), (3,)]))


def test_what_cannot_be_sent_is_told_before_the_first_call(started):
    with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
        list(in_workers(lambda job: pytest.fail("called"), [(1,), (2,), (3,)]))
    assert not started


def test_left_before_the_end(started):
    results = in_workers(pow, JOBS)
    assert [next(results), next(results)] == [0, 1]
    results.close()


def _leave(status):
    return status and os._exit(status)


@pytest.mark.parametrize(("text", "expected"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)])
def test_the_quota_of_a_container_counts(monkeypatch, text, expected):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(workers.Path, "read_text", lambda *_, **__: text)
    assert workers.usable_cores() == expected
