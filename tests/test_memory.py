# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Freed memory that stays: page faults are gone, results are the same, and somebody's own choice is left alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from monai_mmseg import memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library here is not glibc")

FAULTS = """
import resource, numpy
from monai_mmseg.memory import give_back_freed_memory, keep_freed_memory
print(int(keep_freed_memory("cpu")))
def fill():
    return [numpy.ones(2**24, "f4") for _ in range(2)]  # 64 MB each
for _ in range(10):
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
held = resident()
give_back_freed_memory()
print((held - resident()) // 2**20)
"""


def faults(**environment: str) -> tuple[bool, int, int]:
    """Whether memory is kept, page faults of four loops, and MB that were given back at the end."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_", "MMSEG_KEEP"))}
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    kept, count, given = done.stdout.split()
    return kept == "1", int(count), int(given)


@glibc
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_blocks_are_not_fetched_anew_and_are_given_back_at_the_end():
    kept, count, given = faults()
    assert kept
    assert count < 1000  # 4 * 128 MB are 131,072 pages of 4 kB
    assert given > 100  # MB


@glibc
@pytest.mark.parametrize(
    "choice",
    [{"MMSEG_KEEP_MEMORY": "0"}, {"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.top_pad=0"}],
)
def test_somebodys_own_choice_is_left_alone(choice):
    assert not faults(**choice)[0]


def test_other_devices_and_other_c_libraries_are_left_alone(monkeypatch):
    assert memory.keep_freed_memory("cuda:0") is False
    memory._keep.cache_clear()
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    try:
        assert memory.keep_freed_memory("cpu") is False
        memory.give_back_freed_memory()
    finally:
        memory._keep.cache_clear()
