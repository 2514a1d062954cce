# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch.distributed as dist

from monai_mmseg.distributed import gather_mapping, is_distributed, of_first, rank, world_size
from tests.processes import start_processes


def test_one_process_needs_no_set_up():
    assert (is_distributed(), rank(), world_size(), gather_mapping({"a": 1})) == (False, 0, 1, {"a": 1})
    assert of_first("a") == "a"


def test_a_group_of_processes(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert (is_distributed(), rank(), world_size(), gather_mapping({"a": 1})) == (True, 0, 1, {"a": 1})
    finally:
        dist.destroy_process_group()
    assert not is_distributed()


def _say(number: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=2)
    with open(f"{folder}/{number}", "w", encoding="utf-8") as file:
        file.write(of_first(f"of {number}"))
    dist.barrier()
    dist.destroy_process_group()


def test_all_processes_hear_the_first(tmp_path):
    start_processes(_say, (str(tmp_path),))
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in "01"] == ["of 0", "of 0"]
