# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch.distributed as dist

from monai_mmseg.distributed import gather_mapping, is_distributed, rank, world_size


def test_one_process_needs_no_set_up():
    assert (is_distributed(), rank(), world_size(), gather_mapping({"a": 1})) == (False, 0, 1, {"a": 1})


def test_a_group_of_processes(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert (is_distributed(), rank(), world_size(), gather_mapping({"a": 1})) == (True, 0, 1, {"a": 1})
    finally:
        dist.destroy_process_group()
    assert not is_distributed()
