# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.networks.nets import MUNIT, MultiScaleDiscriminator
from monai_mmseg.objectives import MUNITObjective


class Half(nn.Module):
    """Scores of 0.5 at two scales, and a weight that they need."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, image):
        score = 0 * image.flatten(1).sum(1) + 0.5 * self.weight
        return [score[:, None], score[:, None]]


def make(weights=None, judges=None):
    torch.manual_seed(0)
    net = MUNIT(2, 1, ["cine", "lge"], features=2, num_blocks=1, style_downsamples=2)
    return MUNITObjective(
        net, judges or [MultiScaleDiscriminator(2, 1, 2, num_layers=2, num_scales=1) for _ in range(2)], weights=weights
    )


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return {"image": torch.rand(3, 1, 16, 16) * 2 - 1, "modality": torch.tensor([0, 1, 1])}


def test_adversarial_terms_are_summed_over_scales_and_modalities(batch):
    objective = make(judges=[Half(), Half()])
    # (0.5 - 1)^2 and 0.5^2 are 0.25 each, at 2 scales, of 2 modalities
    assert objective(batch, "generator").terms["adversarial"].item() == pytest.approx(1.0)
    assert objective(batch, "discriminator").terms["least_squares"].item() == pytest.approx(2.0)


def test_reconstruction_is_the_mean_of_each_modality(batch):
    objective = make()
    net, term = objective.network, objective(batch, "generator").terms["image"]
    errors = [(net.generator(m)(x) - x).abs().mean() for m, x in ((0, batch["image"][:1]), (1, batch["image"][1:]))]
    torch.testing.assert_close(term, sum(errors))


def test_default_weights_and_the_cycle(batch):
    objective = make()
    terms = objective(batch, "generator").terms
    assert terms["cycle"] == 0
    expected = terms["adversarial"] + 10 * terms["image"] + terms["style"] + terms["content"]
    torch.testing.assert_close(objective.total(terms, "generator"), expected)
    assert make({"generator": {"cycle": 10.0}})(batch, "generator").terms["cycle"] > 0


def test_what_is_absent_costs_nothing(batch):
    only = {"image": batch["image"][1:], "modality": batch["modality"][1:]}
    objective = make(judges=[Half(), Half()])
    terms = objective(only, "generator").terms
    assert terms["adversarial"].item() == pytest.approx(0.5)
    torch.testing.assert_close(
        terms["image"], (objective.network.generator(1)(only["image"]) - only["image"]).abs().mean()
    )
    none = {"image": batch["image"][:0], "modality": batch["modality"][:0]}
    for phase in objective.phases:
        assert all(term == 0 for term in objective(none, phase).terms.values())


def test_a_step_of_both_phases_moves_both(batch):
    objective = make()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    optimizers = {one: torch.optim.Adam(objective.parameters_of(one), lr=1e-3) for one in objective.phases}
    ObjectiveTrainer("cpu", 1, [batch], objective, optimizers).run()
    moved = {
        name.split(".")[0] for name, value in objective.state_dict().items() if not torch.equal(value, before[name])
    }
    assert moved == {"network", "discriminators"}


def test_the_discriminator_phase_leaves_the_generators_alone(batch):
    objective = make()
    objective(batch, "discriminator").terms["least_squares"].backward()
    assert all(parameter.grad is None for parameter in objective.network.parameters())


def test_typos_are_refused():
    with pytest.raises(ValueError, match="weights\\['generator'\\] has no term 'cylce': did you mean cycle"):
        make({"generator": {"cylce": 1.0}})
    with pytest.raises(ValueError, match="discriminators must hold one network per modality .*got 1"):
        make(judges=[Half()])
