# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One of two processes that share a batch of several modalities; spawned processes import this module."""

import os
from itertools import product

import torch
import torch.distributed as dist
from monai.networks.nets import BasicUNet
from torch.nn.parallel import DistributedDataParallel

from monai_mmseg.losses import AffinityConsistencyLoss
from monai_mmseg.networks.layers import convert_modality_norm
from monai_mmseg.networks.nets import ImputedModalitiesNet
from monai_mmseg.objectives import (
    AffinityTerm,
    DownstreamSegmentationObjective,
    KnowledgeDistillationTerm,
    L2Term,
    SegmentationObjective,
    Term,
    UnpairedSegmentationObjective,
)

CASES = {  # modality of the four rows, and which of them are labelled
    "balanced": ((0, 1, 1, 0), (True, True, True, True)),
    "one modality a process": ((0, 0, 1, 1), (True, True, True, True)),
    "no labels on one process": ((0, 1, 0, 1), (True, True, False, False)),
    "one modality alone": ((1, 1, 1, 1), (True, False, True, True)),
}


METHODS = {  # the term between modalities, and the output that shows it
    "ummkd": ("knowledge_distillation", "knowledge"),
    "csa": ("affinity", "affinity_0"),
    "running": ("knowledge_distillation", "knowledge"),
    "balanced": ("affinity", "affinity_0"),
    "paired": ("affinity", "affinity_0"),
    "downstream": ("knowledge_distillation", "knowledge"),
}


def make_objective(method):
    torch.manual_seed(0)
    channels = 2 if method == "downstream" else 1
    plain = BasicUNet(2, channels, 3, features=(2, 2, 4, 4, 4, 2), norm=("group", {"num_groups": 2}))
    if method in ("paired", "downstream"):
        layers = ("task.conv_0", "task.down_1") if method == "downstream" else ("conv_0", "down_1")
        affinity = AffinityTerm([layers], AffinityConsistencyLoss(3, size_norm="fraction"))
        weights = {"segmentation": {"knowledge_distillation": 2.0, "affinity": 10.0}}
        settings = {"terms": [KnowledgeDistillationTerm(), affinity], "weights": weights}
        if method == "paired":
            return SegmentationObjective(plain, 3, sources=[(0, 0), (1, 1)], **settings).double()
        return DownstreamSegmentationObjective(ImputedModalitiesNet(plain, ("ct", "mr")), 3, **settings).double()
    network = convert_modality_norm(plain, ["ct", "mr"])
    terms: list[Term]
    if method in ("ummkd", "running"):
        schedules = {"ramp": "dice", "momentum": 0.5} if method == "running" else {}
        terms = [KnowledgeDistillationTerm(**schedules), L2Term("all")]
        weights = {"knowledge_distillation": 0.25, "l2": 1e-4}
    else:
        pairs = [("conv_0", "down_1"), ("down_1", "down_2")]
        loss = AffinityConsistencyLoss(3, size_norm="fraction")
        terms, weights = [AffinityTerm(pairs, loss, balance=1 if method == "balanced" else None)], {"affinity": 10.0}
    settings = {"terms": terms, "weights": {"segmentation": weights}, "ce_weighted": method == "ummkd"}
    return UnpairedSegmentationObjective(network, ["ct", "mr"], 3, **settings).double()


def make_batch(method, case):
    generator = torch.Generator().manual_seed(1)
    modality, labelled = (torch.tensor(values) for values in CASES[case])
    channels = 2 if method in ("paired", "downstream") else 1
    label = torch.randint(0, 4, (4, 1, 16, 16), generator=generator)  # class 3 is none: pixels without a label
    batch = {
        "image": torch.rand(4, channels, 16, 16, generator=generator, dtype=torch.float64),
        "label": label.repeat(1, 2, 1, 1) if method == "paired" else label,
        "labelled": labelled[:, None].repeat(1, 2) if method == "paired" else labelled,
    }
    if channels == 1:
        return {**batch, "modality": modality}
    return {**batch, "present": modality[:, None] == torch.arange(2)}


def found_by(objective, batch):
    """Terms and gradients."""
    bare = objective.module if isinstance(objective, DistributedDataParallel) else objective
    objective.zero_grad()
    terms, outputs = objective(batch, "segmentation")
    bare.total(terms, "segmentation").backward()
    gradients = {name: p.grad for name, p in bare.named_parameters() if p.grad is not None}
    shown = {name: value for name, value in outputs.items() if name in dict(METHODS.values()).values()}
    return {**shown, **{f"term {name}": t.detach() for name, t in terms.items()}, **gradients}


def work(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    found = {}
    for method, case in product(METHODS, CASES):
        objective = DistributedDataParallel(make_objective(method), find_unused_parameters=True)
        half = {key: value[2 * rank : 2 * rank + 2] for key, value in make_batch(method, case).items()}
        found[f"{method} {case}"] = found_by(objective, half)
        for name, value in found[f"{method} {case}"].items():
            if name.startswith("term"):
                dist.all_reduce(value)
                value /= 2
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()
