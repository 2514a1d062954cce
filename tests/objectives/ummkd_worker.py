# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One of two processes that share an unpaired batch; in a module of its own because spawned processes import it."""

import os

import torch
import torch.distributed as dist
from monai.networks.nets import BasicUNet
from torch.nn.parallel import DistributedDataParallel

from monai_mmseg.networks.layers import convert_modality_norm
from monai_mmseg.objectives import UMMKDObjective

CASES = {  # modality of the four rows, and which of them are labelled
    "balanced": ((0, 1, 1, 0), (True, True, True, True)),
    "one modality a process": ((0, 0, 1, 1), (True, True, True, True)),
    "no labels on one process": ((0, 1, 0, 1), (True, True, False, False)),
    "one modality alone": ((1, 1, 1, 1), (True, False, True, True)),
}


def make_objective():
    torch.manual_seed(0)
    plain = BasicUNet(2, 1, 3, features=(2, 2, 4, 4, 4, 2), norm=("group", {"num_groups": 2}))
    return UMMKDObjective(convert_modality_norm(plain, ["ct", "mr"]), ["ct", "mr"], 3, l2_on="all").double()


def make_batch(case):
    generator = torch.Generator().manual_seed(1)
    modality, labelled = CASES[case]
    return {
        "image": torch.rand(4, 1, 16, 16, generator=generator, dtype=torch.float64),
        "label": torch.randint(0, 4, (4, 1, 16, 16), generator=generator),  # class 3 is none: pixels without a label
        "modality": torch.tensor(modality),
        "labelled": torch.tensor(labelled),
    }


def found_by(objective, batch):
    """Terms and gradients."""
    bare = objective.module if isinstance(objective, DistributedDataParallel) else objective
    objective.zero_grad()
    terms, outputs = objective(batch, "segmentation")
    bare.total(terms, "segmentation").backward()
    gradients = {name: p.grad for name, p in bare.named_parameters() if p.grad is not None}
    return {"knowledge": outputs["knowledge"], **{f"term {name}": t.detach() for name, t in terms.items()}, **gradients}


def work(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    objective = DistributedDataParallel(make_objective(), find_unused_parameters=True)
    found = {}
    for case in CASES:
        half = {key: value[2 * rank : 2 * rank + 2] for key, value in make_batch(case).items()}
        found[case] = found_by(objective, half)
        for name, value in found[case].items():
            if name.startswith("term"):
                dist.all_reduce(value)
                value /= 2
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()
