# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Distillation and affinities beside any segmentation objective, whatever its batches are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.handlers import ResumeCheckpoint
from monai_mmseg.losses import AffinityConsistencyLoss, affinity_consistency_loss, knowledge_distillation_loss
from monai_mmseg.networks.layers import FeatureTaps
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

WEIGHTS = {"segmentation": {"knowledge_distillation": 0.25, "affinity": 0.5, "l2": 1e-4}}
ADDED = list(WEIGHTS["segmentation"])


def convolutions(channels, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1), nn.Conv2d(5, classes, 1),
                         nn.Upsample(scale_factor=4))  # fmt: skip


def terms_of(first, second, classes=3):
    affinity = AffinityTerm([(first, second)], AffinityConsistencyLoss(classes, size_norm="none"))
    return [KnowledgeDistillationTerm(temperature=3.0), affinity, L2Term()]


def paired(weights=WEIGHTS):
    """A network of one modality at a time, on two modalities of the same subjects."""
    objective = SegmentationObjective(
        convolutions(1), 3, sources=[(0, 0), (1, 1)], terms=terms_of("0", "2"), weights=weights
    )
    generator = torch.Generator().manual_seed(1)
    batch = {
        "image": torch.rand(4, 2, 16, 16, generator=generator),
        "label": torch.randint(3, (4, 2, 16, 16), generator=generator),
        "present": torch.tensor([[True, True], [True, False], [True, True], [True, True]]),
        "labelled": torch.tensor([[True, True], [True, True], [False, True], [True, True]]),
    }
    rows = [[0, 1, 3], [0, 2, 3]]  # of each modality: there, and with a label
    images = [batch["image"][index, m : m + 1] for m, index in enumerate(rows)]
    labels = [batch["label"][index, m : m + 1] for m, index in enumerate(rows)]
    return objective, batch, images, labels, ("0", "2")


def downstream(weights=WEIGHTS):
    """A network behind any subset of three modalities; its rows are grouped by the subset."""
    network = ImputedModalitiesNet(convolutions(3), ("t1", "t2", "flair"))
    objective = DownstreamSegmentationObjective(network, 3, terms=terms_of("task.0", "task.2"), weights=weights)
    generator = torch.Generator().manual_seed(1)
    present = torch.tensor([[True, True, True], [True, False, True], [True, True, True], [True, False, True]])
    batch = {
        "image": torch.rand(4, 3, 16, 16, generator=generator),
        "label": torch.randint(3, (4, 1, 16, 16), generator=generator),
        "present": present,
        "labelled": torch.tensor([True, True, False, True]),
    }
    fed = torch.where(present[..., None, None], batch["image"], 0)
    rows = [[0], [1, 3]]
    return objective, batch, [fed[index] for index in rows], [batch["label"][index] for index in rows], ("0", "2")


CASES = pytest.mark.parametrize("make", [paired, downstream])


@CASES
def test_terms_are_the_losses(make):
    objective, batch, images, labels, (first, second) = make()
    terms, outputs = objective(batch, "segmentation")
    assert list(terms)[-3:] == [term.name for term in objective.terms]
    network = getattr(objective.network, "task", objective.network)
    logits, features = [], []
    for image in images:
        with FeatureTaps(network, [first, second]) as taps:
            logits.append(network(image))
        features.append([taps[first], taps[second]])
    expected = knowledge_distillation_loss(logits, labels, temperature=3.0)
    torch.testing.assert_close(terms["knowledge_distillation"], expected)
    expected = affinity_consistency_loss(*zip(*features, strict=True), labels, 3, size_norm="none")
    torch.testing.assert_close(terms["affinity"], expected)
    kernels = [part.weight for part in network.modules() if isinstance(part, nn.Conv2d)]
    torch.testing.assert_close(terms["l2"], 0.5 * torch.stack([kernel.square().sum() for kernel in kernels]).sum())
    assert all(terms[name] > 0 for name in ADDED)
    assert {"knowledge", "affinity_0"} <= outputs.keys()
    assert not any(value.requires_grad for value in outputs.values())


@CASES
def test_own_terms_stay_as_they_are(make):
    objective, batch, *_ = make()
    off, *_ = make({"segmentation": dict.fromkeys(ADDED, 0.0)})
    found, without = objective(batch, "segmentation").terms, off(batch, "segmentation")
    assert all(without.terms[name] == 0 for name in ADDED)
    assert not {"knowledge", "affinity_0"} & without.outputs.keys()
    for name in found.keys() - set(ADDED):
        torch.testing.assert_close(without.terms[name], found[name], rtol=0, atol=0)


@CASES
def test_a_batch_without_a_label_or_with_one_group_gives_zero(make):
    objective, batch, *_ = make()
    nobody = {**batch, "labelled": torch.zeros_like(batch["labelled"])}
    alone = {**batch, "present": torch.tensor([[True] + [False] * (batch["present"].shape[1] - 1)] * 4)}
    for lacking in (nobody, alone):
        terms = objective(lacking, "segmentation").terms
        assert terms["knowledge_distillation"] == terms["affinity"] == 0
        objective.total(terms, "segmentation").backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


@CASES
def test_training_brings_groups_together(make):
    objective, batch, *_ = make({"segmentation": {"knowledge_distillation": 5.0, "affinity": 5.0, "l2": 0.0}})
    adam = torch.optim.Adam(objective.parameters_of("segmentation"), 1e-2)
    before = objective(batch, "segmentation").terms
    trainer = ObjectiveTrainer("cpu", 20, [batch], objective, {"segmentation": adam})
    trainer.run()
    after = objective(batch, "segmentation").terms
    assert after["knowledge_distillation"] + after["affinity"] < before["knowledge_distillation"] + before["affinity"]
    assert {f"segmentation/{name}" for name in ADDED} <= set(trainer.state.metrics)


def test_without_present_there_is_one_subset():
    objective, batch, *_ = downstream()
    del batch["present"]
    terms = objective(batch, "segmentation").terms
    assert terms["knowledge_distillation"] == terms["affinity"] == 0


class Named(Term):
    def __init__(self, name, layers=()):
        self.name, self.layers = name, layers

    def __call__(self, inputs):
        return inputs.logits.new_ones(()), {}


@pytest.mark.parametrize(
    ("terms", "weights", "message"),
    [
        ([Named("mine")], {}, r"weights\['segmentation'\] must hold a weight of the term 'mine'"),
        ([Named("mine")], {"mine": 1, "yours": 1}, r"weights\['segmentation'\] has no term 'yours'"),
        ([Named("mine")], {"mine": -1}, r"the weights of \['mine'\] must not be negative"),
        ([Named("mine"), Named("mine")], {"mine": 1}, "terms must have names of their own, 'mine' is there twice"),
        ([Named("dice")], {"dice": 1}, "terms must have names of their own, 'dice' is there twice"),
        ([Named("mine", ("conv",))], {"mine": 1}, "the network has no module 'conv'"),
    ],
)
def test_messages(terms, weights, message):
    with pytest.raises(ValueError, match=message):
        UnpairedSegmentationObjective(convolutions(1), ["a", "b"], 3, terms=terms, weights={"segmentation": weights})


def test_terms_need_a_call():
    with pytest.raises(TypeError, match="abstract"):
        Term()
    with pytest.raises(ValueError, match="on must be 'kernels' or 'all', got 'norms'"):
        L2Term("norms")


def moving(balance=1, **settings):
    affinity = AffinityTerm([("0", "2")], AffinityConsistencyLoss(3), balance=balance, **settings)
    terms = [KnowledgeDistillationTerm(ramp="dice", momentum=0.3), affinity]
    weights = {"segmentation": {"knowledge_distillation": 2.0, "affinity": 0.5}}
    return UnpairedSegmentationObjective(convolutions(1), ["ct", "mr"], 3, terms=terms, weights=weights)


def unpaired_batch(seed=1):
    generator = torch.Generator().manual_seed(seed)
    image, label = torch.rand(4, 1, 16, 16, generator=generator), torch.randint(3, (4, 1, 16, 16), generator=generator)
    return {"image": image, "label": label, "modality": torch.tensor([0, 0, 1, 1])}


def test_weights_that_move():
    objective = moving()
    terms = objective(unpaired_batch(), "segmentation").terms
    total = objective.total(terms, "segmentation")
    kernel = objective.network[0].weight
    norms = {n: torch.autograd.grad(t, kernel, retain_graph=True)[0].norm() for n, t in terms.items() if n != "dice"}
    own = torch.autograd.grad(terms["dice"] + terms["cross_entropy"], kernel, retain_graph=True)[0].norm()
    factors = objective.weight_factors("segmentation")
    assert 0 < factors["knowledge_distillation"] < 1
    torch.testing.assert_close(factors["affinity"] * norms["affinity"], own, rtol=1e-4, atol=0)
    expected = terms["dice"] + terms["cross_entropy"] + 0.5 * factors["affinity"] * terms["affinity"]
    expected = expected + 2 * factors["knowledge_distillation"] * terms["knowledge_distillation"]
    torch.testing.assert_close(total, expected)
    before = {name: value.clone() for name, value in factors.items()}
    objective.eval()(unpaired_batch(2), "segmentation")
    assert before == objective.weight_factors("segmentation")


def test_weights_go_on_where_a_run_was_cut_off(tmp_path):
    def trained(folder, *epochs):
        for count in epochs:
            objective = moving(balance=3)
            adam = torch.optim.Adam(objective.parameters_of("segmentation"), 1e-2)
            batches = [unpaired_batch(seed) for seed in range(4)]
            handler = ResumeCheckpoint(folder, resume=True)
            optimizers = {"segmentation": adam}
            ObjectiveTrainer("cpu", count, batches, objective, optimizers, train_handlers=[handler]).run()
        return objective.state_dict()

    whole, cut = trained(tmp_path / "whole", 3), trained(tmp_path / "cut", 1, 3)
    assert any("running" in name for name in whole)
    for name, value in whole.items():
        assert torch.equal(cut[name], value) if isinstance(value, torch.Tensor) else cut[name] == value


def test_what_does_not_move_adds_nothing_to_the_state():
    objective, *_ = paired()
    assert objective.state_dict().keys() == {f"network.{name}" for name in objective.network.state_dict()}


def test_messages_of_weights_that_move():
    with pytest.raises(ValueError, match="balance_layer '2' needs balance"):
        moving(balance=None, balance_layer="2")
    with pytest.raises(ValueError, match="balance_layer must have a kernel that is trained, '1' has none"):
        moving(balance_layer="1")
    with pytest.raises(ValueError, match="term 'affinity' measures gradients in a step, which cannot be compiled"):
        moving().compile()
    with pytest.raises(ValueError, match=r"momentum must lie in \(0, 1\], got 0"):
        KnowledgeDistillationTerm(momentum=0)
