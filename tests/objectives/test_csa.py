# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.losses import AffinityConsistencyLoss, affinity_consistency_loss
from monai_mmseg.networks.layers import FeatureTaps
from monai_mmseg.networks.nets import DilatedResidualNet, share_network
from monai_mmseg.objectives import AffinityTerm, KnowledgeDistillationTerm, L2Term, UnpairedSegmentationObjective
from tests.objectives.test_unpaired import MODALITIES, make_batch, rows_of, two_norms, unet

TERMS = ["dice", "cross_entropy", "knowledge_distillation", "l2", "affinity"]
PAIRS = [("down_1", "down_2"), ("conv_0", "down_1")]  # the second pair has two grids
SETTINGS = {"size_norm": "fraction"}


def csa(
    network,
    modalities,
    num_classes,
    layer_pairs,
    *,
    csa_weight=0.5,
    kd_weight=0.0,
    l2_scale=0.0,
    ce_weighted=False,
    weights=None,
    **loss,
):
    """Eq. 5 of CSA, and the terms of UMMKD."""
    affinity = AffinityTerm(layer_pairs, AffinityConsistencyLoss(num_classes, **loss))
    own = {"affinity": csa_weight, "knowledge_distillation": kd_weight / 2, "l2": l2_scale}
    return UnpairedSegmentationObjective(
        network,
        modalities,
        num_classes,
        terms=[KnowledgeDistillationTerm(), L2Term(), affinity],
        ce_weighted=ce_weighted,
        weights={"segmentation": {**own, **(weights or {}).get("segmentation", {})}},
    )


def objective_of(network=None, **settings):
    return csa(network or two_norms(), MODALITIES, 3, PAIRS, **{**SETTINGS, **settings})


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 16)], ids=["2d", "3d"])
def test_affinity_is_the_mean_of_the_pairs(size):
    network, batch = two_norms(size), make_batch(size)
    objective = objective_of(network)
    terms, outputs = objective(batch, "segmentation")
    assert list(terms) == TERMS
    modality = batch["modality"]
    with FeatureTaps(network, ["conv_0", "down_1", "down_2"]) as taps:
        network(batch["image"], modality)
    x = {name: taps.rows(name, modality, MODALITIES) for name in taps}
    lists = {name: [value[modality == m] for m in (0, 1)] for name, value in x.items()}
    labels = [batch["label"][modality == m] for m in (0, 1)]
    expected = [affinity_consistency_loss(lists[a], lists[b], labels, 3, **SETTINGS) for a, b in PAIRS]
    torch.testing.assert_close(terms["affinity"], torch.stack(expected).mean())
    assert outputs["affinity_0"].shape == (2, 3, x["down_1"].shape[1], x["down_2"].shape[1])
    assert outputs["affinity_0"].requires_grad is False
    assert outputs["logits"].shape == (4, 3, *size)


def test_gradient_reaches_nothing_behind_the_later_layer():
    network = two_norms()
    objective = objective_of(network)
    objective(make_batch(), "segmentation").terms["affinity"].backward()
    touched = {name.split(".")[1] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"conv_0", "down_1", "down_2"}
    both = [p.grad for name, p in network.named_parameters() if "down_2" in name and ".norms." in name]
    assert all(grad is not None for grad in both)


def test_weight_zero_is_the_training_without_affinities(monkeypatch):
    monkeypatch.setattr("monai_mmseg.objectives.terms.FeatureTaps.__enter__", lambda self: pytest.fail("tapped"))
    network, batch = two_norms(), make_batch()
    found = objective_of(network, csa_weight=0)(batch, "segmentation").terms
    plain = UnpairedSegmentationObjective(network, MODALITIES, 3, ce_weighted=False)
    expected = plain(batch, "segmentation").terms
    assert found["affinity"] == 0
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_cross_entropy_is_plain_by_default():
    batch = make_batch()
    terms, outputs = objective_of(unet(), csa_weight=0)(batch, "segmentation")
    rows = nn.functional.cross_entropy(outputs["logits"], batch["label"][:, 0], reduction="none").mean((1, 2))
    per_modality = [rows[batch["modality"] == m].mean() for m in (0, 1)]
    torch.testing.assert_close(terms["cross_entropy"].detach(), torch.stack(per_modality).sum(), rtol=1e-5, atol=1e-6)
    weighted = objective_of(unet(), csa_weight=0, ce_weighted=True)(batch, "segmentation").terms
    assert weighted["cross_entropy"] != terms["cross_entropy"]


def test_order_of_the_rows_is_free():
    objective, batch = objective_of().eval(), make_batch(modality=(1, 0, 0, 1, 1))
    order = torch.tensor([3, 1, 4, 0, 2])
    expected, other = objective(batch, "segmentation"), objective(rows_of(batch, order), "segmentation")
    for name in TERMS:
        torch.testing.assert_close(other.terms[name], expected.terms[name])


def test_rows_without_a_label_change_no_loss():
    objective = objective_of()
    batch = make_batch(modality=(1, 0, 0, 1, 1), labelled=(True, False, True, True, False))
    expected = objective(rows_of(batch, torch.tensor([0, 2, 3])), "segmentation").terms
    found = objective(batch, "segmentation").terms
    assert found["affinity"] > 0
    torch.testing.assert_close(found["affinity"], expected["affinity"])
    nobody = objective(dict(batch, labelled=torch.zeros(5, dtype=torch.bool)), "segmentation").terms
    assert all(nobody[name] == 0 for name in TERMS)
    objective.total(nobody, "segmentation").backward()
    everyone = objective_of(class_specific=False)(
        dict(batch, labelled=torch.zeros(5, dtype=torch.bool)), "segmentation"
    )
    assert everyone.terms["affinity"] > 0  # affinities of whole images need no label


def test_one_modality_alone_trains():
    objective = objective_of()
    terms = objective(make_batch(modality=(0, 0)), "segmentation").terms
    assert terms["affinity"] == 0
    objective.total(terms, "segmentation").backward()
    single = csa(unet(), ["ct"], 3, PAIRS)(make_batch(modality=(0, 0)), "segmentation")
    assert single.terms["affinity"] == 0


def test_with_knowledge_distillation():
    terms, outputs = objective_of(kd_weight=0.5, l2_scale=1e-4)(make_batch(), "segmentation")
    assert all(value > 0 for name, value in terms.items() if name != "dice")
    assert {"knowledge", "affinity_0", "affinity_1"} <= outputs.keys()


def test_settings_have_the_same_parameters():
    plain = DilatedResidualNet(2, 1, 4, features=(2, 2, 4, 4, 4, 4, 4, 4))
    network = share_network(plain, ["lge", "bssfp"])
    pairs = [("group_4", "group_5"), ("group_5", "group_6")]
    for settings in ({}, {"csa_weight": 0}, {"class_specific": False}):
        objective = csa(network, ["lge", "bssfp"], 4, pairs, **settings)
        assert sum(p.numel() for p in objective.parameters()) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("channels", "classes", "kernels", "norm"), [(1, 4, 36941072, 19168), (3, 5, 39302456, 20192)])
def test_parameter_counts(channels, classes, kernels, norm):
    with torch.device("meta"):  # shapes without values
        network = share_network(DilatedResidualNet(2, channels, classes), ["a", "b"])
    objective = csa(network, ["a", "b"], classes, [("group_4", "group_5"), ("group_5", "group_6")])
    assert sum(p.numel() for p in objective.parameters()) == kernels + 2 * norm


def test_training_brings_affinities_together():
    objective = objective_of(csa_weight=50.0, size_norm="none")
    adam = torch.optim.Adam(objective.parameter_groups("segmentation", lr=3e-3))
    batch = make_batch(modality=(0, 1, 1, 0))
    trainer = ObjectiveTrainer("cpu", 12, [batch], objective, {"segmentation": adam}, amp=True)
    before = objective(batch, "segmentation").terms["affinity"].item()
    trainer.run()
    assert set(trainer.state.metrics) == {f"segmentation/{name}" for name in [*TERMS, "total"]}
    assert trainer.state.metrics["segmentation/affinity"] < before / 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer_pairs": []}, "layer_pairs must list pairs of module names"),
        ({"layer_pairs": ["down_1", "down_2"]}, "layer_pairs must list pairs of module names"),
        ({"layer_pairs": [["down_1"]]}, "layer_pairs must list pairs of module names"),
        ({"layer_pairs": [["down_1", "down_22"]]}, "no module 'down_22': did you mean .*down_2"),
        ({"size_norm": "x"}, "size_norm must be one of"),
        ({"csa_weight": -1}, "must not be negative"),
        ({"weights": {"segmentation": {"csa": 1}}}, "has no term 'csa'"),
    ],
)
def test_messages(settings, message):
    arguments = {"network": two_norms(), "modalities": MODALITIES, "num_classes": 3, "layer_pairs": PAIRS, **settings}
    with pytest.raises(ValueError, match=message):
        csa(**arguments)


def test_weights():
    assert objective_of().weights["segmentation"] == {
        "dice": 1.0, "cross_entropy": 1.0, "knowledge_distillation": 0.0, "l2": 0.0, "affinity": 0.5,
    }  # fmt: skip
    given = objective_of(csa_weight=0.3, kd_weight=0.5, weights={"segmentation": {"dice": 2}}).weights["segmentation"]
    assert (given["affinity"], given["knowledge_distillation"], given["dice"]) == (0.3, 0.25, 2.0)


# torch's compiler looks at the tensors that pass from one graph to the next
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("csa_weight", [0.5, pytest.param(0.0, marks=pytest.mark.overlays)])
def test_compiled_it_is_the_same_for_every_pattern_of_modalities(csa_weight):
    """With the weight 0 no layer is tapped, and the network is compiled too."""
    torch.compiler.reset()
    network = share_network(unet(norm="batch"), MODALITIES)
    objective = objective_of(network, csa_weight=csa_weight, kd_weight=0.5)
    compiled = copy.deepcopy(objective)
    compiled.compile(backend="eager")
    for modality in ((0, 0, 1, 1), (1, 0, 0, 1)):
        batch = make_batch(modality=modality)
        batch["image"] = torch.rand_like(batch["image"])
        expected, found = (one(batch, "segmentation") for one in (objective, compiled))
        torch.testing.assert_close(found.terms, expected.terms)
        torch.testing.assert_close(found.outputs, expected.outputs)
    torch.compiler.reset()
