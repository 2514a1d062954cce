# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One of two processes that share a batch; in a module of its own because spawned processes import it."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from monai_mmseg.networks.nets import AdversarialDiscriminator, DAFNet
from monai_mmseg.objectives import DAFNetObjective

SIZE, CLASSES = (48, 48), 3
CASES = ("all there", "no labels on one process", "a modality missing on one process", "uneven")


def make_objective():
    torch.manual_seed(0)
    net = DAFNet(
        2, 1, CLASSES, modalities=["cine", "lge"], target="lge", spatial_size=SIZE, features=(2, 2, 2, 2, 2),
        segmentor_features=4,
    )  # fmt: skip
    judges = [AdversarialDiscriminator(c, SIZE, features=2, spectral="none") for c in (CLASSES - 1, 1, 1)]
    objective = DAFNetObjective(net, judges[0], judges[1:], swapped_cross_entropy=False)
    with torch.no_grad():
        for parameter in net.transformer.parameters():
            parameter.add_(0.002 * torch.randn_like(parameter))
    return (
        objective.double().eval()
    )  # frozen batch normalisation; double: no kink of an activation lies within rounding


def make_batch(case):
    generator = torch.Generator().manual_seed(1)
    batch = {
        "image": torch.rand(4, 2, *SIZE, generator=generator, dtype=torch.float64) * 2 - 1,
        "label": torch.randint(0, CLASSES, (4, 2, *SIZE), generator=generator),
        "present": torch.ones(4, 2, dtype=torch.bool),
        "labelled": torch.ones(4, 2, dtype=torch.bool),
    }
    if case == "no labels on one process":
        batch["labelled"][2:] = False
    if case == "a modality missing on one process":
        batch["present"][2:, 1] = batch["labelled"][2:, 1] = False
    if case == "uneven":
        batch["present"][0, 0] = batch["labelled"][0, 0] = batch["labelled"][3] = False
    return batch


def gradients(objective, batch, phase):
    """Gradients of one phase, with the noise of the method switched off: it differs between processes."""
    bare = objective.module if isinstance(objective, DistributedDataParallel) else objective
    normal, like, draw = torch.randn, torch.randn_like, torch.randperm
    torch.randn = lambda *shape, **_: torch.full(shape, 0.3, dtype=torch.float64)
    torch.randn_like = lambda x: torch.full_like(x, 0.1)
    try:
        for name in bare.phases:
            for parameter in bare.parameters_of(name):
                parameter.requires_grad_(name == phase)
        previous = {} if phase == "generator" else bare(batch, "generator").outputs
        objective.zero_grad()
        bare.total(objective(batch, phase, previous).terms, phase).backward()
    finally:
        torch.randn, torch.randn_like, torch.randperm = normal, like, draw
    return {name: p.grad for name, p in bare.named_parameters() if p.grad is not None}


def work(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    objective = DistributedDataParallel(make_objective(), find_unused_parameters=True)
    found = {}
    for case in CASES:
        half = {key: value[2 * rank : 2 * rank + 2] for key, value in make_batch(case).items()}
        found[case] = gradients(objective, half, "generator")
    if rank == 0:
        torch.save(found, f"{folder}/gradients.pt")
    dist.barrier()
    dist.destroy_process_group()
