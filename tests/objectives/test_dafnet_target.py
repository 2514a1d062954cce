# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from monai_mmseg.losses import foreground_dice_loss, weighted_cross_entropy
from monai_mmseg.objectives import dafnet_target, judging
from monai_mmseg.objectives.dafnet_target import OPTIONAL, _fused, moving_modality
from tests.objectives.test_dafnet import CLASSES, TERMS, gradients, make_batch, make_objective, terms_of

ALL = {"generator": {"randomised": 10.0, "own_supervision": 1.0, "agreement": 1.0}}


@pytest.fixture
def batch():
    """No target labels, and labels that must not be read."""
    found = make_batch()
    found["labelled"][:, 1] = False
    found["label"][:, 1] = 99
    return found


@pytest.fixture
def same_contrast(monkeypatch):
    """Copies in the contrast that they had."""
    monkeypatch.setattr(dafnet_target, "random_intensity_maps", lambda images: images)


def loss(probs, onehot):
    """As the paper's supervised loss, of rows that form one group."""
    count = onehot.sum((0, 2, 3))
    weights = onehot[:, 0].numel() / (count + 1e-12)
    entropy = weighted_cross_entropy(probs, onehot, class_weights=weights)
    return (foreground_dice_loss(probs, onehot) + 0.01 * entropy).mean()


def onehot_of(label):
    return torch.nn.functional.one_hot(label, CLASSES).movedim(-1, 1).float()


def predictions(objective, image):
    """Probabilities of the target (modality 1 of 2): own, of the source moved onto it, fused."""
    net = objective.network
    source, own = (net.anatomy(image[:, m : m + 1], m) for m in (0, 1))
    moved = net.deform(source, own)[0]
    return [net.segment(anatomy).softmax(1) for anatomy in (own, moved, torch.maximum(own, moved))]


def test_terms_without_a_weight_do_not_exist(batch):
    assert set(terms_of(make_objective(), batch)) == TERMS
    assert set(terms_of(make_objective(weights=ALL), batch)) == TERMS | set(OPTIONAL)
    zeros = {"generator": dict.fromkeys(OPTIONAL, 0.0)}
    assert set(make_objective(weights=zeros).weights["generator"]) == TERMS


def test_randomised_is_the_loss_of_the_source_through_the_targets_encoder(batch, same_contrast):
    objective = make_objective(weights=ALL).eval()
    probs = objective.network.segment(objective.network.anatomy(batch["image"][:, :1], 1)).softmax(1)
    expected = loss(probs, onehot_of(batch["label"][:, 0]))
    torch.testing.assert_close(terms_of(objective, batch)["randomised"], expected, rtol=1e-5, atol=1e-6)
    batch["labelled"][:, 0] = False
    assert terms_of(objective, batch)["randomised"] == 0


def test_own_supervision_is_the_loss_against_the_moved_source(batch):
    objective = make_objective(weights=ALL).eval()
    own, moved, _ = predictions(objective, batch["image"])
    expected = loss(own, onehot_of(moved.argmax(1)))
    terms = terms_of(objective, batch)
    torch.testing.assert_close(terms["own_supervision"], expected, rtol=1e-5, atol=1e-6)
    terms["own_supervision"].backward()
    assert not any(p.grad is not None and p.grad.any() for p in objective.network.transformer.parameters())


def test_agreement_is_the_distance_of_three_predictions_to_their_mean(batch, same_contrast):
    objective = make_objective(weights=ALL).eval()
    own, _, fused = predictions(objective, batch["image"])
    mean = (2 * own + fused) / 3  # the copy in the same contrast is the image itself
    expected = 0.0
    for view in (own, own, fused):
        kl = (view * (view / mean).log() + mean * (mean / view).log()).sum(1).mean()
        expected = expected + (foreground_dice_loss(view, mean).mean() + kl) / 3
    torch.testing.assert_close(terms_of(objective, batch)["agreement"], expected, rtol=1e-4, atol=1e-6)


def test_targets_with_a_label_need_no_other_teacher():
    terms = terms_of(make_objective(weights=ALL), make_batch())
    assert terms["own_supervision"] == terms["agreement"] == 0 < terms["randomised"]


def test_fused_anatomies_are_those_of_the_network_whatever_is_there():
    objective, batch = make_objective(3).eval(), make_batch(3)
    batch["present"] = torch.tensor([[True, True, True], [False, True, True], [True, False, True]])
    rows, _ = objective._plan(batch, "generator")
    net, image = objective.network, batch["image"][:, :, None]
    own = net.stacked_anatomies([image[b, m] for m, b in enumerate(rows.encode)])
    moved, _ = net.deform(own[rows.moving], own[rows.fixed])
    labelled, anatomy = batch["labelled"], torch.cat([own, moved])
    parts = dafnet_target.TargetParts(net, image, anatomy, anatomy, batch["label"], labelled, rows)
    assert moving_modality(rows).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    torch.testing.assert_close(_fused(parts), net.factors(batch["image"], batch["present"]).fused)


def test_pretraining_leaves_the_rest_alone_and_is_taken_up_again(batch):
    objective = make_objective(weights=ALL, pretraining=1, align_start=1)
    output = objective(batch, "generator")
    objective.total(output.terms, "generator").backward()
    assert {name for name, term in output.terms.items() if term != 0} == {"supervised", "randomised"}
    assert set(output.terms) == TERMS | set(OPTIONAL)
    trained = {name.split(".")[1] for name, p in objective.named_parameters() if p.grad is not None}
    assert trained == {"anatomy_encoders", "segmentor"}
    for phase in objective.phases[1:]:
        terms = objective(batch, phase, output.outputs).terms
        assert not any(term.requires_grad or term != 0 for term in terms.values())

    resumed = make_objective(weights=ALL, pretraining=1, align_start=1)
    resumed.load_state_dict(objective.state_dict())
    terms = terms_of(resumed, batch)
    assert terms["kl"] > 0 == terms["offset"]  # DAFNet, but the anatomies lie still for one step
    assert terms_of(resumed, batch)["agreement"] > 0


def test_pretraining_scores_no_anatomy_by_the_label_of_another_image():
    """Undeformed, the anatomy of one image does not fit the label of the other."""
    batch = make_batch()
    output = make_objective(pretraining=1)(batch, "generator")
    kept = [(m, b) for m in (0, 1) for b in range(len(batch["present"])) if batch["present"][b, m]]
    probs = dict(zip(kept, output.outputs["logits"].softmax(1), strict=True))
    expected = torch.zeros(())
    for modality in (0, 1):
        rows = [(m, b) for m, b in kept if m == modality and batch["labelled"][b, m]]
        labels = torch.stack([batch["label"][b, m] for m, b in rows])
        expected = expected + loss(torch.stack([probs[row] for row in rows]), onehot_of(labels))
    torch.testing.assert_close(output.terms["supervised"], expected)


def test_discriminators_that_rest_exchange_zeros_between_processes(monkeypatch):
    monkeypatch.setattr(judging, "is_distributed", lambda: True)
    discriminator = torch.nn.Linear(2, 1)
    judging.resting(discriminator).terms["least_squares"].backward()
    assert all(p.grad is not None and not p.grad.any() for p in discriminator.parameters())


def test_random_contrasts_reach_running_statistics_in_pretraining_only(batch):
    def change(still):
        objective = make_objective(weights={"generator": {"randomised": 1.0}}, pretraining=int(not still))
        plain = make_objective(pretraining=int(not still))
        for one in (objective, plain):
            terms_of(one, batch)
        other = dict(plain.named_buffers())
        return [n for n, b in objective.named_buffers() if "running" in n and not torch.equal(b, other[n])]

    assert change(still=True) == []
    assert change(still=False)


def test_ramp_lets_the_weights_of_the_other_terms_grow(batch):
    objective = make_objective(pretraining=1, ramp=2)
    totals = []
    for _ in range(3):
        terms = terms_of(objective, batch)
        totals.append((objective.total(terms, "generator"), terms))
    for share, (total, terms) in zip((0, 0.5, 1), totals, strict=True):
        others = sum(terms[name] for name in ("adversarial_mask", "reconstruction", "adversarial_image", "latent"))
        torch.testing.assert_close(total, 10 * terms["supervised"] + share * (others + 0.1 * terms["kl"]))


def test_labels_of_other_images_teach_the_target_alone(batch):
    grads = gradients(make_objective(weights={"generator": dict.fromkeys(TERMS, 0.0) | {"randomised": 1.0}}), batch)
    reached = {name for name, grad in grads.items() if grad.abs().sum() > 0}
    assert any(name.startswith("network.anatomy_encoders") for name in reached)
    assert not any("transformer" in name or "decoder." in name for name in reached if "anatomy" not in name)


def test_errors():
    with pytest.raises(ValueError, match="no term 'randomized': did you mean randomised"):
        make_objective(weights={"generator": {"randomized": 1.0}})
    with pytest.raises(ValueError, match="pretraining must not be negative, got -1"):
        make_objective(pretraining=-1)
    with pytest.raises(ValueError, match=r"weights of \['agreement'\] need two or more modalities"):
        make_objective(1, weights={"generator": {"agreement": 1.0}})
