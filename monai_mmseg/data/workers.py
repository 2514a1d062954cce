# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How many processes load data beside the one that trains."""

from __future__ import annotations

import multiprocessing
import os

import torch

from monai_mmseg.distributed import world_size
from monai_mmseg.workers import usable_cores

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
