# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.data import default_workers, workers


@pytest.mark.parametrize(
    ("device", "cores", "processes", "expected"),
    [
        ("cpu", 16, None, 0),  # the network takes the cores
        ("cuda", 1, None, 0),
        ("cuda", 2, None, 1),
        ("cuda", 6, None, 5),
        ("cuda", 64, None, 8),  # more do not pay
        ("cuda:1", 16, "4", 3),  # 4 cores each, one of which trains
        ("cuda", 2, "4", 0),
    ],
)
def test_cores_are_shared_by_the_processes(monkeypatch, device, cores, processes, expected):
    monkeypatch.setattr(workers, "usable_cores", lambda: cores)
    monkeypatch.setattr(workers.multiprocessing, "get_start_method", lambda allow_none: "fork")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert default_workers(device) == expected


def test_no_copies_of_the_volumes_where_processes_are_not_forked(monkeypatch):
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    monkeypatch.setattr(workers.multiprocessing, "get_start_method", lambda allow_none: "spawn")
    assert default_workers("cuda") == 0
