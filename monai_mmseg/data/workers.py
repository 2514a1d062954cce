# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How many processes load data beside the one that trains."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import torch

from monai_mmseg.distributed import world_size

MOST = 8
"""More do not pay: each holds batches of its own, and the networks here take no more samples than eight make."""


def default_workers(device: str | torch.device) -> int:
    """Worker processes of a training ``DataLoader`` that suit this machine.

    None on a CPU, where they would take the cores of the network. With a GPU all cores that this process may use but
    one, shared by the processes of a distributed run, and at most eight. None where worker processes are not forked:
    each would get a copy of all volumes.

    Args:
        device: where the network trains.

    Examples:
        >>> default_workers("cpu")
        0
    """
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if torch.device(device).type == "cpu" or method != "fork":
        return 0
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 0)) or world_size()
    return max(0, min(MOST, usable_cores() // processes - 1))


def usable_cores() -> int:
    """Cores that this process may use: of the machine, its affinity, and the quota of its control group.

    Examples:
        >>> usable_cores() >= 1
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such group, or "max"
        pass
    return cores
