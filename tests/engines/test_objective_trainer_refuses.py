# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the trainer refuses before anything runs."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.engines.phase import make_phases
from tests.engines.toy import PHASES, ToyNetwork, ToyObjective, toy_items


def test_constructor_refuses():
    objective = ToyObjective(ToyNetwork())
    good = {name: torch.optim.SGD(objective.parameters_of(name), lr=0.1) for name in PHASES}
    batches = [toy_items(2)[0]]
    with pytest.raises(ValueError, match=r"\['critic'\] missing"):
        ObjectiveTrainer("cpu", 1, batches, objective, {"fit": good["fit"]})
    with pytest.raises(ValueError, match="no phase 'fits': did you mean fit"):
        ObjectiveTrainer("cpu", 1, batches, objective, good, updates={"fits": 2})
    with pytest.raises(ValueError, match=r"updates.*must be at least 1, got 0"):
        ObjectiveTrainer("cpu", 1, batches, objective, good, updates={"fit": 0})
    with pytest.raises(ValueError, match=r"holds parameters that the phase does not train.*critic"):
        ObjectiveTrainer("cpu", 1, batches, objective, {**good, "fit": torch.optim.SGD(objective.parameters(), lr=1)})
    part = torch.optim.SGD(objective.network.shared.parameters(), lr=1)
    with pytest.raises(ValueError, match=r"4 missing, e.g.*network.encoders"):
        ObjectiveTrainer("cpu", 1, batches, objective, {**good, "fit": part})
    with pytest.raises(ValueError, match="exclude each other"):
        ObjectiveTrainer("cpu", 1, batches, objective, good, updates={"critic": 2}, accumulation_steps=2)
    again = ToyObjective(ToyNetwork())
    again.retraining = ("critic",)
    own = {name: torch.optim.SGD(again.parameters_of(name), lr=0.1) for name in PHASES}
    with pytest.raises(
        ValueError, match=r"accumulation_steps must be 1: phases \['critic'\] of ToyObjective train what"
    ):
        ObjectiveTrainer("cpu", 1, batches, again, own, accumulation_steps=2)
    with pytest.raises(ValueError, match=r"objective must be an Objective.*got ToyNetwork"):
        ObjectiveTrainer("cpu", 1, batches, objective.network, good)
    with pytest.raises(ValueError, match="clip_norm of phase 'fit' must be positive"):
        ObjectiveTrainer("cpu", 1, batches, objective, good, clip_norm=0.0)


def test_phases_must_not_share_parameters():
    class Sharing(ToyObjective):
        def parameters_of(self, phase):
            return list(self.network.parameters())

    objective = Sharing(ToyNetwork())
    optimizers = {name: torch.optim.SGD(objective.parameters_of(name), lr=1) for name in PHASES}
    with pytest.raises(ValueError, match="'fit' and 'critic' both train parameter 'network"):
        make_phases(objective, optimizers)


def test_persistent_workers_are_refused():
    loader = DataLoader(toy_items(2), num_workers=1, persistent_workers=True)
    objective = ToyObjective(ToyNetwork())
    optimizers = {name: torch.optim.SGD(objective.parameters_of(name), lr=1) for name in PHASES}
    with pytest.raises(ValueError, match="persistent_workers"):
        ObjectiveTrainer("cpu", 1, loader, objective, optimizers)


def test_distributed_wrapper_must_search_unused_parameters(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        objective = ToyObjective(ToyNetwork())
        optimizers = {name: torch.optim.SGD(objective.parameters_of(name), lr=1) for name in PHASES}
        with pytest.raises(ValueError, match="find_unused_parameters=True"):
            ObjectiveTrainer("cpu", 1, [], DistributedDataParallel(objective), optimizers)
    finally:
        torch.distributed.destroy_process_group()
