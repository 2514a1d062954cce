# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy

from monai_mmseg.losses import FrequencyWeightedCrossEntropyLoss, frequency_weighted_cross_entropy, group_means
from monai_mmseg.losses.cross_entropy import frequency_weights_from_counts
from monai_mmseg.losses.masked import class_counts
from tests.losses.ummkd_cases import CASES, case

EXACT = {"rtol": 0, "atol": 1e-12}


def onehot(classes, num_classes):
    return torch.eye(num_classes)[classes].movedim(-1, 1)


@pytest.mark.parametrize("name", CASES)
def test_original(name):
    true = case(name)
    source = true["logits_s"].requires_grad_()
    loss = FrequencyWeightedCrossEntropyLoss(softmax=True)(source, true["onehot_s"])
    torch.testing.assert_close(loss, true["ce_s"], **EXACT)
    torch.testing.assert_close(torch.autograd.grad(loss, source)[0], true["g_ce_s"], **EXACT)


@pytest.mark.parametrize("name", CASES)
def test_original_of_both_modalities_at_once(name):
    true = case(name)
    probs = torch.cat([true["logits_t"], true["logits_s"]]).softmax(1)
    labels = torch.cat([true["onehot_t"], true["onehot_s"]])
    group = torch.tensor([1] * len(true["logits_t"]) + [0] * len(true["logits_s"]))
    weights = frequency_weights_from_counts(class_counts(labels.double(), group, 2))[group]
    means = group_means(frequency_weighted_cross_entropy(probs, labels, class_weights=weights), group, 2)
    torch.testing.assert_close(means, torch.stack([true["ce_s"], true["ce_t"]]), **EXACT)


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])
def test_torch_with_weights(size):
    logits, classes = torch.randn(2, 4, *size).clamp(-1.5, 1.5), torch.randint(4, (2, *size))  # above the floor
    weights = 1 - classes.flatten().bincount(minlength=4) / classes.numel()
    expected = cross_entropy(logits, classes, weights, reduction="none").mean()
    loss = FrequencyWeightedCrossEntropyLoss(softmax=True, to_onehot_y=True)(logits, classes[:, None])
    torch.testing.assert_close(loss, expected)


def test_floor():
    classes = torch.tensor([[0, 0, 1, 1]])
    probs = torch.tensor([[[0.004, 0.006, 1.0, 1.0], [0.996, 0.994, 0.0, 0.0]]], requires_grad=True)
    loss = frequency_weighted_cross_entropy(probs, onehot(classes, 2))
    loss.sum().backward()
    expected = -0.5 / 4 * (math.log(0.005) + math.log(0.006) + 2 * math.log(0.005))
    torch.testing.assert_close(loss.detach(), torch.tensor([expected]))
    assert (probs.grad[0, 0] != 0).tolist() == [False, True, False, False]
    assert (probs.grad[0, 1] == 0).all()
    worst = frequency_weighted_cross_entropy(onehot(1 - classes, 3), onehot(classes, 3), class_weights=torch.ones(3))
    torch.testing.assert_close(worst, torch.tensor([5.2983]), rtol=0, atol=1e-4)


def test_a_batch_of_one_class_is_zero():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = FrequencyWeightedCrossEntropyLoss(softmax=True, to_onehot_y=True)(logits, torch.ones(2, 1, 4, 4))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


def test_pixels_without_a_label_stay_in_the_mean():
    logits, labels = torch.randn(1, 3, 8), torch.tensor([[[0, 1, 2, 0, 0, 1, 0, 2]]])
    loss = FrequencyWeightedCrossEntropyLoss(softmax=True, to_onehot_y=True)
    padded = torch.cat([labels, torch.tensor([[[255, -1, 3, 99]]])], dim=2)
    torch.testing.assert_close(
        loss(torch.cat([logits, torch.randn(1, 3, 4)], 2), padded), loss(logits, labels) * 8 / 12
    )
    nothing = loss(logits, torch.full_like(labels, 255))
    assert nothing == 0


def test_rows_without_a_label_change_nothing():
    logits, labels = torch.randn(3, 3, 4, 4, requires_grad=True), torch.randint(3, (3, 1, 4, 4)).float()
    loss = FrequencyWeightedCrossEntropyLoss(softmax=True, to_onehot_y=True)
    expected = loss(logits[[0, 2]], labels[[0, 2]])
    labels[1] = float("nan")
    with torch.no_grad():
        logits[1] = float("nan")
    actual = loss(logits, labels, torch.tensor([True, False, True]))
    actual.backward()
    torch.testing.assert_close(actual, expected)
    assert logits.grad.isfinite().all()
    assert logits.grad[1].abs().sum() == 0
    assert loss(logits, labels, torch.zeros(3, dtype=torch.bool)) == 0


def test_gradient():
    probs = (0.1 + torch.rand(2, 3, 2, 2, dtype=torch.float64)).requires_grad_()
    true = onehot(torch.randint(3, (2, 2, 2)), 3).double()
    assert gradcheck(lambda p: frequency_weighted_cross_entropy(p, true), (probs,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    loss = frequency_weighted_cross_entropy(torch.zeros(1, 2, 300, 300, dtype=dtype), torch.ones(1, 2, 300, 300))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.tensor([5.2983]), rtol=0, atol=1e-3)  # both classes, each half


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: frequency_weighted_cross_entropy(torch.zeros(1, 2, 3), torch.zeros(1, 3, 3)),
            "probs and onehot must have one shape, got (1, 2, 3) and (1, 3, 3).",
        ),
        (
            lambda: frequency_weighted_cross_entropy(
                torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), class_weights=torch.ones(4)
            ),
            "class_weights must have shape (3,) or (2, 3), got (4,).",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
