# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.engines import DecayedAdam, decayed_adams
from monai_mmseg.engines.phase import make_phases
from tests.objectives.test_sdnet import make


def moved(adam, weight, steps):
    for _ in range(steps):
        weight.grad = torch.ones(1)
        adam.step()
    return weight.item()


def test_learning_rate_of_each_step_and_of_a_resumed_run():
    """By hand: of a constant gradient Adam moves by the learning rate, here 1, 1/2 and 1/3."""
    weight = torch.nn.Parameter(torch.zeros(1))
    adam = DecayedAdam([weight], lr=1.0, decay=1.0)
    assert moved(adam, weight, 2) == pytest.approx(-1.5)
    other = DecayedAdam([weight], lr=1.0, decay=1.0)
    other.load_state_dict(adam.state_dict())
    assert moved(other, weight, 1) == pytest.approx(-1.5 - 1 / 3)
    assert other.param_groups[0]["lr"] == 1.0  # a schedule finds its own


def test_phases_of_an_objective_that_trains_a_part_twice():
    objective, _ = make()
    adams = decayed_adams(objective, {"generator": 1.0, "latent": 0.5, "mask_discriminator": 0.1}, betas=(0.5, 0.999))
    phases = make_phases(objective, adams)
    assert [p.optimizer.param_groups[0]["lr"] for p in phases] == [1.0, 0.5, 0.1]
    phases[1].select()
    taking = {name.split(".")[2] for name, p in objective.named_parameters() if p.requires_grad}
    assert taking == {"modality_encoder", "decoder"}
    with pytest.raises(ValueError, match=r"learning_rates must name the phases .* differ on \['latent'\]"):
        decayed_adams(objective, {"generator": 1.0, "mask_discriminator": 0.1})
    with pytest.raises(ValueError, match="decay must not be negative, got -1"):
        DecayedAdam([torch.nn.Parameter(torch.zeros(1))], decay=-1)
