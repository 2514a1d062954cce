# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.losses import KnowledgeDistillationLoss, knowledge_distillation_loss
from monai_mmseg.losses.class_logits import class_logit_sums, pool_class_logits
from monai_mmseg.losses.running_class_logits import RunningClassLogits


def batch(seed, label=None, rows=4, classes=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, 6, 5, generator=generator, dtype=torch.float64).requires_grad_()
    drawn = torch.randint(classes, (rows, 1, 6, 5), generator=generator)
    return logits, drawn if label is None else torch.full_like(drawn, label)


def pooled(logits, labels, modality=(0, 0, 1, 1)):
    return pool_class_logits(class_logit_sums(logits, labels), torch.tensor(modality), 2)


def test_the_first_batch_is_that_of_the_batch_alone():
    logits, labels = batch(0)
    loss = KnowledgeDistillationLoss(2).compare(RunningClassLogits(0.1)(pooled(logits, labels)))
    other = knowledge_distillation_loss(logits, labels, torch.tensor([0, 0, 1, 1]), 2)
    torch.testing.assert_close(loss, other, rtol=1e-6, atol=0)
    # the gradient is not smaller for the share of the batch
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (loss, other)), rtol=1e-5, atol=1e-12)


def test_means_of_all_pixels_weigh_by_age():
    running, found = RunningClassLogits(0.25), None
    batches = [batch(seed) for seed in range(3)]
    for one in batches:
        found = running(pooled(*one))
    weights = [0.75**2, 0.75, 1.0]
    for group, rows in ((0, slice(0, 2)), (1, slice(2, 4))):
        for name in range(3):
            sums, pixels = torch.zeros(3, dtype=torch.float64), 0.0
            for weight, (logits, labels) in zip(weights, batches, strict=True):
                mask = labels[rows] == name
                sums += weight * (logits[rows].detach() * mask).sum((0, 2, 3))
                pixels += weight * float(mask.sum())
            torch.testing.assert_close(found.means[group, name], sums / pixels, rtol=1e-6, atol=1e-9)


def test_a_class_that_the_batch_lacks_is_remembered_without_a_gradient():
    running = RunningClassLogits(0.5)
    before = running(pooled(*batch(0)))
    logits, labels = batch(1, label=0)
    after = running(pooled(logits, labels))
    torch.testing.assert_close(after.means[:, 1:], before.means[:, 1:])
    assert (after.pixels > 0).all()
    gradient = torch.autograd.grad(after.means[:, 1:].sum(), logits, retain_graph=True)[0]
    assert gradient.abs().sum() == 0
    alone = running(pooled(*batch(2, rows=2), modality=(0, 0)))
    assert (alone.rows > 0).all()
    never = RunningClassLogits(0.5)(pooled(*batch(2, rows=2), modality=(0, 0)))
    assert (never.rows > 0).tolist() == [True, False]


def test_state_is_saved_and_evaluation_changes_nothing():
    running = RunningClassLogits(0.5)
    assert running.state_dict() == {}
    running(pooled(*batch(0)))
    other = RunningClassLogits(0.5)
    other.load_state_dict(running.state_dict())
    torch.testing.assert_close(other(pooled(*batch(1))).means, running(pooled(*batch(1))).means, rtol=0, atol=0)
    kept = running.sums.clone()
    running.eval()(pooled(*batch(2)))
    assert torch.equal(running.sums, kept)
    other.load_state_dict({})  # of a run that had not begun
    assert other.sums is None


@pytest.mark.parametrize("momentum", [0, 1.5])
def test_messages(momentum):
    with pytest.raises(ValueError, match=rf"momentum must lie in \(0, 1\], got {momentum}"):
        RunningClassLogits(momentum)
