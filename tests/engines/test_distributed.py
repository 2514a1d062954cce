# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Two processes give the gradients of one with the joined batch."""

import json

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from monai_mmseg.engines import ObjectiveTrainer
from tests.engines.toy import PHASES, ToyNetwork, ToyObjective, toy_items
from tests.processes import start_processes

SCENARIOS = ("everything", "no second modality", "no labels", "nothing", "accumulated")


def batches(scenario):
    """One batch for each process (or two, to be accumulated); something is missing from the second process' one."""
    items = [{**item, "present": torch.ones(2).bool(), "labelled": torch.ones(2).bool()} for item in toy_items(8)]
    if scenario != "accumulated":
        items[0]["labelled"] = torch.tensor([True, False])
        items[1]["present"] = torch.tensor([False, True])
    for item in items[4:]:
        if scenario == "no second modality":
            item["present"] = torch.tensor([True, False])
        if scenario in ("no labels", "nothing"):
            item["labelled"] = torch.zeros(2).bool()
        if scenario == "nothing":
            item["present"] = torch.zeros(2).bool()
    for item in items:
        item["labelled"] &= item["present"]
        item["image"] = item["image"].double()
    parts = [items[:4], items[4:]]
    return [{key: torch.stack([item[key] for item in part]) for key in part[0]} for part in parts]


def gradients(data, distributed, **arguments):
    torch.manual_seed(0)
    objective = ToyObjective(ToyNetwork(norm="instance", dropout=0.0))
    optimizers = {name: torch.optim.SGD(objective.parameters_of(name), lr=0.0) for name in PHASES}
    wrapped = DistributedDataParallel(objective, find_unused_parameters=True) if distributed else objective
    trainer = ObjectiveTrainer("cpu", 1, data, wrapped, optimizers, seed=None, **arguments)
    trainer.run()
    grads = {name: p.grad for name, p in objective.named_parameters()}
    return grads, trainer.state.metrics


def compare(rank, folder):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # so that a wrong count cannot hide behind rounding
    report = {}
    expected = {}
    for scenario in SCENARIOS:
        joined = [{key: torch.cat([part[key] for part in batches(scenario)]) for key in batches(scenario)[0]}]
        expected[scenario] = gradients(joined, distributed=False)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for scenario in SCENARIOS:
        mine, arguments = [batches(scenario)[rank]], {}
        if scenario == "accumulated":
            parts = {key: value.split(2) for key, value in mine[0].items()}
            mine, arguments = [{k: v[i] for k, v in parts.items()} for i in range(2)], {"accumulation_steps": 2}
        grads, metrics = gradients(mine, distributed=True, **arguments)
        wanted, wanted_metrics = expected[scenario]
        report[scenario] = {
            "error": max(float((grads[k] - wanted[k]).abs().max()) for k in wanted if wanted[k] is not None),
            "size": min(float(wanted[k].abs().max()) for k in wanted if wanted[k] is not None and "bias" not in k),
            "missing": sorted(k for k in wanted if (wanted[k] is None) != (grads[k] is None)),
            "metrics": max(abs(metrics[k] - wanted_metrics[k]) for k in wanted_metrics),
        }
    (folder / f"{rank}.json").write_text(json.dumps(report))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    start_processes(compare, (tmp_path,))
    for rank in range(2):
        for scenario, result in json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")).items():
            assert result["error"] < 1e-10, (scenario, result)
            assert result["size"] > 1e-5, (scenario, result)
            assert result["missing"] == [], (scenario, result)
            assert result["metrics"] < 1e-10, (scenario, result)
