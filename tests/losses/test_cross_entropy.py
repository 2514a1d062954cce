# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy

from monai_mmseg.losses import (
    FrequencyWeightedCrossEntropyLoss,
    WeightedCrossEntropyLoss,
    class_weighted_cross_entropy,
    frequency_weighted_cross_entropy,
    group_means,
    weighted_cross_entropy,
)
from monai_mmseg.losses.cross_entropy import class_weights_from_counts, frequency_weights_from_counts
from monai_mmseg.losses.masked import class_counts
from tests.losses.ummkd_cases import CASES, case

LN_EPS = -math.log(1e-12)  # 27.63
EXACT = {"rtol": 0, "atol": 1e-12}
SIZES = pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])


def onehot(classes, num_classes):
    return torch.eye(num_classes)[torch.as_tensor(classes)].movedim(-1, 1)


# ---- rare classes weighted up


@pytest.mark.parametrize("form", ["named", "swapped"])
def test_original_of_rarity(costs, form):
    loss = weighted_cross_entropy(costs["pred"], costs["true"], swapped=form == "swapped")
    torch.testing.assert_close(loss.mean(), costs[f"wce_{form}"], rtol=1e-5, atol=0)


def test_original_per_row_with_its_extra_softmax(costs):
    named = weighted_cross_entropy(costs["pred"].softmax(1), costs["true"])
    torch.testing.assert_close(named, costs["wce_perbatch_named"], rtol=1e-5, atol=0)
    swapped = weighted_cross_entropy(costs["pred"], costs["true"].softmax(1), swapped=True)
    torch.testing.assert_close(swapped, costs["wce_perbatch_swapped"], rtol=1e-5, atol=0)


@SIZES
def test_uniform_prediction_with_all_classes_gives_k_ln_k(size):
    classes = torch.arange(math.prod(size)).reshape(1, *size) % 5  # every class is there
    true = onehot(classes, 5)
    loss = weighted_cross_entropy(torch.full_like(true, 0.2), true)
    torch.testing.assert_close(loss, torch.tensor([5 * math.log(5)]))


@SIZES
def test_swapped_is_one_minus_precision(size):
    probs, true = torch.randn(3, 4, *size).softmax(1), onehot(torch.randint(3, (3, *size)), 4)  # class 3 is absent
    axes = [0, *range(2, probs.ndim)]
    precision = (probs * true).sum(axes) / probs.sum(axes)
    assert precision[3] == 0
    loss = weighted_cross_entropy(probs, true, swapped=True).mean()
    torch.testing.assert_close(loss, LN_EPS * (1 - precision).sum())


def test_swapped_is_zero_at_the_truth():
    true = onehot(torch.randint(3, (2, 6, 6)), 3)
    torch.testing.assert_close(weighted_cross_entropy(true, true, swapped=True), torch.zeros(2))


def test_given_weights_match_torch():
    logits, classes, weights = torch.randn(2, 3, 5, 4), torch.randint(3, (2, 5, 4)), torch.tensor([1.0, 2.0, 5.0])
    expected = cross_entropy(logits, classes, weights, reduction="none").flatten(1).mean(1)
    loss = weighted_cross_entropy(logits.softmax(1), onehot(classes, 3), class_weights=weights)
    torch.testing.assert_close(loss, expected)


def test_weights_per_row():
    probs, true = torch.randn(2, 3, 5, 4).softmax(1), onehot(torch.randint(3, (2, 5, 4)), 3)
    weights = torch.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]])
    loss = weighted_cross_entropy(probs, true, class_weights=weights)
    for row in range(2):
        alone = weighted_cross_entropy(probs[row : row + 1], true[row : row + 1], class_weights=weights[row])
        torch.testing.assert_close(loss[row : row + 1], alone)


@pytest.mark.parametrize("swapped", [False, True])
def test_groups_at_once_equal_one_call_each(swapped):
    probs, true = torch.randn(5, 3, 4, 4).softmax(1), onehot(torch.randint(3, (5, 4, 4)), 3)
    group = torch.tensor([1, 0, 1, 2, 0])
    counts = class_counts(probs if swapped else true, group, 3, differentiable=swapped)
    loss = weighted_cross_entropy(probs, true, class_weights=class_weights_from_counts(counts)[group], swapped=swapped)
    for g in range(3):
        torch.testing.assert_close(
            loss[group == g], weighted_cross_entropy(probs[group == g], true[group == g], swapped=swapped)
        )


def test_weights_of_an_absent_class_are_finite():
    weights = class_weights_from_counts(torch.tensor([[30.0, 10.0, 0.0]]))
    torch.testing.assert_close(weights[:, :2], torch.tensor([[40 / 30, 4.0]]))
    assert weights.isfinite().all()


@pytest.mark.parametrize("swapped", [False, True])
def test_gradient_of_rarity(swapped):
    # inside of the simplex: the numerical derivative needs room
    probs = (0.1 + torch.rand(2, 3, 2, 2, dtype=torch.float64)).requires_grad_()
    true = onehot(torch.randint(3, (2, 2, 2)), 3).double()
    assert gradcheck(lambda p: weighted_cross_entropy(p, true, swapped=swapped), (probs,))
    mask = torch.tensor([True, False])
    assert gradcheck(lambda p: weighted_cross_entropy(p, true, swapped=swapped, labelled=mask), (probs,))


@pytest.mark.parametrize("swapped", [False, True])
def test_gradient_is_finite_at_certain_predictions(swapped):
    true, probs = onehot(torch.tensor([[0, 0, 1, 1]]), 3), onehot(torch.tensor([[1, 0, 0, 1]]), 3).requires_grad_()
    loss = weighted_cross_entropy(probs, true, swapped=swapped)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert probs.grad.isfinite().all()


@pytest.mark.parametrize("swapped", [False, True])
def test_rows_without_a_label_change_nothing_of_rarity(swapped):
    logits, labels = torch.randn(3, 3, 4, 4, requires_grad=True), torch.randint(3, (3, 1, 4, 4)).float()
    loss = WeightedCrossEntropyLoss(softmax=True, to_onehot_y=True, swapped=swapped)
    expected = loss(logits[[0, 2]], labels[[0, 2]])
    labels[1] = float("nan")
    with torch.no_grad():
        logits[1] = float("nan")
    actual = loss(logits, labels, torch.tensor([True, False, True]))
    actual.backward()
    torch.testing.assert_close(actual, expected)
    assert logits.grad.isfinite().all()
    assert logits.grad[1].abs().sum() == 0


@pytest.mark.parametrize("swapped", [False, True])
def test_no_row_with_a_label(swapped):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = WeightedCrossEntropyLoss(softmax=True, swapped=swapped)(
        logits, torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.bool)
    )
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("swapped", [False, True])
def test_half_precision_is_computed_in_single_of_rarity(dtype, swapped):
    probs = torch.zeros(1, 2, 8, 8, dtype=dtype)
    probs[:, 0] = 1  # log(1e-12) does not exist in float16
    true = torch.zeros_like(probs)
    true[:, 1] = 1
    loss = weighted_cross_entropy(probs.requires_grad_(), true, swapped=swapped)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), torch.tensor([LN_EPS]))  # every pixel wrong, one class weighs 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: weighted_cross_entropy(torch.zeros(1, 2, 3), torch.zeros(1, 3, 3)),
            "probs and onehot must have one shape, got (1, 2, 3) and (1, 3, 3).",
        ),
        (
            lambda: weighted_cross_entropy(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), class_weights=torch.ones(4)),
            "class_weights must have shape (3,) or (2, 3), got (4,).",
        ),
        (
            lambda: WeightedCrossEntropyLoss()(
                torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.ones(1, dtype=torch.bool)
            ),
            "labelled must be torch.bool of shape (2,), got torch.bool of shape (1,).",
        ),
    ],
)
def test_messages_of_rarity(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


# ---- frequent classes weighted down


@pytest.mark.parametrize("name", CASES)
def test_original_of_frequency(name):
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


@SIZES
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


def test_rows_without_a_label_change_nothing_of_frequency():
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


def test_gradient_of_frequency():
    probs = (0.1 + torch.rand(2, 3, 2, 2, dtype=torch.float64)).requires_grad_()
    true = onehot(torch.randint(3, (2, 2, 2)), 3).double()
    assert gradcheck(lambda p: frequency_weighted_cross_entropy(p, true), (probs,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_of_frequency(dtype):
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
def test_messages_of_frequency(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


def test_class_weights_of_a_batch_without_a_labelled_pixel():
    logits = torch.randn(2, 4, 5, requires_grad=True)
    value = class_weighted_cross_entropy(logits, torch.zeros(2, 4, 5), class_weights=(1, 5, 5, 5))
    value.backward()
    assert value == 0
    assert not logits.grad.any()
