# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_mmseg.networks.nets import AdversarialDiscriminator, AnatomyUNet, DualStreamUNet, SDNet, SelectModality
from monai_mmseg.networks.nets.select_modality import SelectStream
from monai_mmseg.objectives import DualStreamObjective, SDNetObjective, weighted_sum
from monai_mmseg.objectives.sdnet import smooth_dice_loss


def make(**settings):
    """An objective and a batch: cine is labelled, LGE is not; the second subject has no cine."""
    torch.manual_seed(0)
    network = SDNet(2, 1, 3, spatial_size=(32, 34), features=(2, 4), segmentor_features=4, binarise="argmax")
    judge = AdversarialDiscriminator(2, (32, 34), 2, spectral="penalty", padding="same", strides=(2, 2, 2, 2, 1))
    settings = {"sources": [(0, 0), (1, 1)], **settings}
    objective = SDNetObjective(SelectModality(network, 1, 2), judge, 3, **settings)
    batch = {
        "image": torch.rand(3, 2, 32, 34) * 2 - 1,
        "label": torch.randint(3, (3, 2, 32, 34)),
        "present": torch.tensor([[True, True], [False, True], [True, True]]),
        "labelled": torch.tensor([[True, False], [False, False], [True, False]]),
    }
    batch["image"][1, 0] = float("nan")
    batch["label"][:, 1] = 77
    return objective, batch


def gradients(objective, batch, phase, previous=None):
    objective.zero_grad()
    output = objective(batch, phase, previous)
    objective.total(output.terms, phase).backward()
    return output, {name.split(".")[2] for name, p in objective.named_parameters() if p.grad is not None}


def test_a_step_of_each_phase():
    objective, batch = make()
    output, trained = gradients(objective, batch, "generator")
    assert output.outputs["anatomy"].shape == (5, 8, 32, 34)
    assert output.outputs["mask_fakes"].shape == (3, 2, 32, 34)  # unlabelled
    assert all(torch.isfinite(term) for term in output.terms.values())
    assert {"anatomy_encoder", "modality_encoder", "segmentor", "decoder"} < trained
    _, trained = gradients(objective, batch, "latent", output.outputs)
    assert trained == {"modality_encoder", "decoder"}  # the anatomy stands still
    output, _ = gradients(objective, batch, "mask_discriminator", output.outputs)
    assert all(p.grad is None for p in objective.network.parameters())
    assert all(p.grad is not None for p in objective.mask_discriminator.parameters())
    assert output.terms["spectral"] > 0


def test_terms_by_hand():
    """Of two images, one without label: each group has a mean of its own; the adversary sees the second alone."""
    objective, batch = make()
    objective.eval()
    batch = {key: value[2:] for key, value in batch.items()}
    torch.manual_seed(1)
    terms = objective(batch, "generator").terms
    net, image = objective.sdnet, batch["image"][0].unsqueeze(1)
    anatomy = net.anatomy(image)
    style, probs = net.style(anatomy, image), net.segment(anatomy).softmax(1)
    torch.manual_seed(1)
    rebuilt = net.decode(anatomy, style.mu + (style.logvar / 2).exp() * torch.randn(2, 8))
    kl = -0.5 * (1 + style.logvar - style.mu**2 - style.logvar.exp()).sum()
    truth = nn.functional.one_hot(batch["label"][0, :1], 3).movedim(-1, 1).float()[:, 1:]
    hit, mass = (probs[:1, 1:] * truth).sum(), probs[:1, 1:].sum() + truth.sum()
    expected = {
        "supervised": 1 - 2 * (hit + 0.1) / (mass + 0.1),
        "adversarial_mask": (objective.mask_discriminator(probs[1:, 1:]) - 1).square().mean(),
        "reconstruction": 2 * (rebuilt - image).abs().mean(),
        "kl": kl,
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)
    assert objective.weights["generator"] == {
        "supervised": 10, "adversarial_mask": 10, "reconstruction": 1, "kl": 0.01,
    }  # fmt: skip
    torch.testing.assert_close(
        objective.total(terms, "generator"), weighted_sum(expected, objective.weights["generator"])
    )


def test_labels_that_are_not_there_change_nothing():
    before, after = [], []
    for found, value in ((before, 77), (after, 1)):
        objective, batch = make()
        batch["label"][:, 1] = value
        torch.manual_seed(1)
        for phase in objective.phases:
            found.append(objective(batch, phase, found[0].outputs if found else None))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one.terms, other.terms)


def test_without_unlabelled_images_there_is_no_adversary():
    objective, batch = make(sources=[(0, 0)])
    output = objective(batch, "generator")
    assert output.outputs["mask_fakes"].shape[0] == 0
    assert output.terms["adversarial_mask"] == 0
    judged = objective(batch, "mask_discriminator", output.outputs)
    assert judged.terms["least_squares"] == 0


def test_a_batch_without_images():
    objective, batch = make(sources=[(0, 0)])
    batch["present"][:, 0] = False
    output, _ = gradients(objective, batch, "generator")
    assert {term.item() for term in output.terms.values()} == {0.0}
    gradients(objective, batch, "latent", output.outputs)
    gradients(objective, batch, "mask_discriminator", output.outputs)


def test_processes_wait_for_each_other_as_often_without_images(monkeypatch):
    """A process whose part of a batch lacks the modality must count rows with the others, or all hang."""
    counted = []
    monkeypatch.setattr("monai_mmseg.losses.masked.is_distributed", lambda: True)
    monkeypatch.setattr("monai_mmseg.losses.masked.world_size", lambda: 1)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda count: counted.append(count.shape))
    objective, batch = make(sources=[(0, 0)])
    found = []
    for there in (True, False):
        batch["present"][:, 0] = there
        batch["image"][:, 0] = 0.5
        counted.clear()
        output, _ = gradients(objective, batch, "generator")
        gradients(objective, batch, "latent", output.outputs)
        gradients(objective, batch, "mask_discriminator", output.outputs)
        found.append(list(counted))
    assert len(found[0]) == 7
    assert found[0] == found[1]


def test_the_pool_holds_the_last_masks_and_goes_with_a_resumed_run():
    objective, batch = make(pool_size=4)
    for value in (1.0, 2.0):
        objective(batch, "mask_discriminator", {"anatomy": 0, "mask_fakes": torch.full((3, 2, 32, 34), value)})
    assert objective._pool[:, 0, 0, 0].tolist() == [1.0, 2.0, 2.0, 2.0]
    other, _ = make(pool_size=4)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other._pool, objective._pool)


def test_smoothed_dice():
    empty = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert smooth_dice_loss(empty, empty).item() == -1  # the Dice of two empty masks is 2


def test_dualstream_takes_turns():
    torch.manual_seed(0)
    network = SelectStream(DualStreamUNet(2, 1, 3, features=(2, 4)), 1, 2)
    objective = DualStreamObjective(network, 3, sources=[(0, 0), (1, 1)])
    _, batch = make()
    batch["labelled"][:] = batch["present"]
    seen = [objective(batch, "segmentation").outputs["logits"].shape[0] for _ in range(4)]
    assert seen == [2, 3, 2, 3]
    state = objective.state_dict()
    objective(batch, "segmentation")
    objective.load_state_dict(state)
    assert objective(batch, "segmentation").outputs["logits"].shape[0] == 2
    batch["labelled"][:, 1] = False  # no label of the target: its stream gets no step
    for _ in range(2):
        objective.zero_grad()
        objective.total(objective(batch, "segmentation").terms, "segmentation").backward()
        assert all(p.grad is None for p in network.network.streams[1].contracting.parameters())
        assert all(p.grad is not None for p in network.network.streams[0].parameters())


def test_errors():
    with pytest.raises(TypeError, match="network must be a SelectModality of an SDNet, got AnatomyUNet"):
        SDNetObjective(AnatomyUNet(features=(2, 4)), nn.Identity(), 3)
    with pytest.raises(TypeError, match="network must be a SelectStream, got AnatomyUNet"):
        DualStreamObjective(AnatomyUNet(features=(2, 4)), 3)
    objective, batch = make()
    with pytest.raises(ValueError, match=r"previous must hold the outputs of phase 'generator' for phase 'latent'"):
        objective(batch, "latent")
    for settings, message in (({"sources": []}, "sources must hold pairs"), ({"pool_size": 0}, "pool_size must be at")):
        with pytest.raises(ValueError, match=message):
            make(**settings)
