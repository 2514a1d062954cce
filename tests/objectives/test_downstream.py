# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from monai.losses import DiceLoss
from torch import nn

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.losses import gaussian_kl
from monai_mmseg.networks.nets import AttentionGatedUNet, FusedAnatomyNet, ImputedModalitiesNet, NVNet
from monai_mmseg.objectives import DownstreamSegmentationObjective, DownstreamSynthesisObjective
from tests.networks.nets.disentangle.test_disentangle import NAN, net_of

SIZE = (64, 32)
PRESENT = torch.tensor([[True, False, True], [True, True, False], [True, True, True]])
NVNET = {"dice": 1, "cross_entropy": 0.5, "reconstruction": 0.1, "kl": 0.1}


def network_of(task="nvnet", **settings):
    torch.manual_seed(0)
    nets = {
        "nvnet": lambda: NVNet(2, 12, 4, spatial_size=SIZE, init_filters=8, latent=4, dropout=0.0),
        "conv": lambda: nn.Conv2d(12, 4, 1),
        "unet": lambda: AttentionGatedUNet(2, 12, 1, features=(4, 4, 4, 4, 4)),
    }
    return FusedAnatomyNet(net_of(background=0.0), nets[task](), **settings)


def batch_of(rows=3):
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.rand(rows, 3, *SIZE, generator=generator),
        "label": torch.randint(4, (rows, 1, *SIZE), generator=generator),
        "target": torch.rand(rows, 1, *SIZE, generator=generator),
        "present": PRESENT[:rows],
        "labelled": torch.tensor([True, False, True])[:rows],
    }


def test_terms_of_a_segmentation():
    network, batch = network_of(), batch_of()
    objective = DownstreamSegmentationObjective(network, 4, weights={"segmentation": NVNET}).eval()
    terms, outputs = objective(batch, "segmentation")
    fused = network.inputs(batch["image"], PRESENT)
    found = network.task.factors(fused)
    kept = batch["labelled"]
    logits, label = found.logits[kept], batch["label"][kept]
    onehot = nn.functional.one_hot(label[:, 0], 4).movedim(-1, 1).float()
    dice = DiceLoss(include_background=False, squared_pred=True, batch=True, smooth_nr=0, smooth_dr=1e-6)
    expected = {
        "dice": dice(logits.softmax(1), onehot),
        "cross_entropy": nn.functional.cross_entropy(logits, label[:, 0], torch.tensor([1.0, 5, 5, 5])),
        "reconstruction": (found.reconstruction - fused).square().mean(),
        "kl": gaussian_kl(found.mean, found.log_variance).mean() / 4,
    }
    assert list(terms) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(outputs["pred"], network(batch["image"], PRESENT))
    assert not outputs["pred"].requires_grad


def test_terms_of_a_synthesis():
    network, batch = network_of("unet").eval(), batch_of()
    objective = DownstreamSynthesisObjective(network, weights={"synthesis": {"squared": 1}}).eval()
    terms = objective(batch, "synthesis").terms
    made, kept = network(batch["image"], PRESENT), batch["labelled"]
    difference = (made - batch["target"])[kept]
    torch.testing.assert_close(terms["absolute"], difference.abs().mean())
    torch.testing.assert_close(terms["squared"], difference.square().mean())
    batch["target"][~kept] = NAN
    torch.testing.assert_close(objective(batch, "synthesis").terms, terms)


@pytest.mark.parametrize("task", ["nvnet", "unet"])
def test_what_is_absent_or_not_labelled_changes_nothing(task):
    network = network_of(task, frozen=False)
    if task == "nvnet":
        objective = DownstreamSegmentationObjective(network, 4)
    else:
        objective = DownstreamSynthesisObjective(network)
    phase, batch = objective.phases[0], batch_of()
    gradients, start = [], copy.deepcopy(network.state_dict())
    for filling in (0.0, NAN):
        network.load_state_dict(start)
        image = batch["image"].clone()
        image[~PRESENT] = filling
        label, target = batch["label"].clone(), batch["target"].clone()
        label[1], target[1] = int(filling == 0), filling
        objective.zero_grad()
        terms = objective({**batch, "image": image, "label": label, "target": target}, phase).terms
        objective.total(terms, phase).backward()
        gradients.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() != set()
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value)
    none = {**batch, "labelled": torch.zeros(3, dtype=torch.bool)}
    total = objective.total(objective(none, phase).terms, phase)
    total.backward()
    assert total.isfinite()


@pytest.mark.parametrize("frozen", [True, False])
def test_a_run(frozen):
    """Frozen: not one number of the encoder moves. Else its rate is smaller."""
    network, batch = network_of(frozen=frozen), batch_of()
    objective = DownstreamSegmentationObjective(network, 4, weights={"segmentation": NVNET})
    before = copy.deepcopy(network.encoder.state_dict())
    groups = objective.parameter_groups("segmentation", 1e-2, {} if frozen else {"network.encoder": 0.1})
    assert [group["lr"] for group in groups] == ([1e-2] if frozen else [1e-2, 1e-3])
    trainer = ObjectiveTrainer("cpu", 6, [batch], objective, {"segmentation": torch.optim.Adam(groups)})
    first = objective.eval()(batch, "segmentation").terms["dice"].item()
    trainer.run()
    assert objective.eval()(batch, "segmentation").terms["dice"] < first
    after = network.encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items()) == frozen
    assert all(p.requires_grad != frozen for p in network.encoder.anatomy_encoders.parameters())


def test_a_baseline():
    network = ImputedModalitiesNet(nn.Conv2d(3, 4, 1), ("t1", "t2", "flair"))
    batch = batch_of()
    found = DownstreamSegmentationObjective(network, 4)(batch, "segmentation").terms
    batch["image"][~PRESENT] = 0
    plain = DownstreamSegmentationObjective(network, 4)({**batch, "present": None}, "segmentation").terms
    torch.testing.assert_close(found, plain)
    assert found["kl"] == found["reconstruction"] == 0


def test_a_baseline_that_has_to_know_the_slice():
    network = ImputedModalitiesNet(nn.Conv2d(2, 1, 1), ("t1", "t2"), fill="average")
    network.set_average(torch.rand(3, 2, 8, 8, 5))
    batch = {
        "image": torch.full((2, 2, 8, 8), torch.nan),
        "target": torch.rand(2, 1, 8, 8),
        "slice": torch.tensor([4, 1]),
    }
    found = DownstreamSynthesisObjective(network)(batch, "synthesis").terms["absolute"]
    made = network.task(network.average[..., [4, 1]].movedim(-1, 0))
    torch.testing.assert_close(found, (made - batch["target"]).abs().mean())


def test_messages():
    conv = network_of("conv")
    with pytest.raises(ValueError, match=r"weights\['segmentation'\] of \['kl'\] need an NVNet as task, got Conv2d"):
        DownstreamSegmentationObjective(conv, 4, weights={"segmentation": {"kl": 0.1}})
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        DownstreamSegmentationObjective(conv, 1)
    with pytest.raises(ValueError, match="class_weights must hold 4 numbers that are not negative"):
        DownstreamSegmentationObjective(conv, 4, class_weights=(1, 5))
    with pytest.raises(ValueError, match=r"logits and label must have shapes \(B, 3, \*spatial\)"):
        DownstreamSegmentationObjective(conv, 3)(batch_of(), "segmentation")
    with pytest.raises(ValueError, match=r"batch\['labelled'\] must be bool of shape \(3,\)"):
        DownstreamSegmentationObjective(conv, 4)({**batch_of(), "labelled": torch.ones(3, 1) > 0}, "segmentation")
    with pytest.raises(ValueError, match=r"batch\['target'\] must have the shape \(3, 4, 64, 32\)"):
        DownstreamSynthesisObjective(conv)(batch_of(), "synthesis")
    objective = DownstreamSegmentationObjective(conv, 4)
    with pytest.raises(ValueError, match="scale names no part of phase 'segmentation'"):
        objective.parameter_groups("segmentation", 1e-2, {"network.encodr": 0.1})
