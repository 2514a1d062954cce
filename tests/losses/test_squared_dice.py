# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.losses import DiceLoss
from torch.autograd import gradcheck

from monai_mmseg.losses import SquaredDiceLoss, squared_dice_loss
from tests.losses.ummkd_cases import CASES, case

EXACT = {"rtol": 0, "atol": 1e-12}
SIZES = pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])


def onehot(classes, num_classes):
    return torch.eye(num_classes)[classes].movedim(-1, 1)


@pytest.mark.parametrize("name", CASES)
def test_original(name):
    true = case(name)
    source = true["logits_s"].requires_grad_()
    loss = SquaredDiceLoss(softmax=True)(source, true["onehot_s"])
    torch.testing.assert_close(loss, true["dice_s"], **EXACT)
    torch.testing.assert_close(torch.autograd.grad(loss, source)[0], true["g_dice_s"], **EXACT)
    both = torch.cat([true["logits_t"], true["logits_s"].detach()]).softmax(1)
    labels = torch.cat([true["onehot_t"], true["onehot_s"]])
    group = torch.tensor([1] * len(true["logits_t"]) + [0] * len(source))
    torch.testing.assert_close(
        squared_dice_loss(both, labels, group=group, num_groups=2),
        torch.stack([true["dice_s"], true["dice_t"]]),
        **EXACT,
    )


@SIZES
def test_monai(size):
    logits, classes = torch.randn(3, 4, *size, dtype=torch.float64), torch.randint(4, (3, 1, *size))
    other = DiceLoss(softmax=True, to_onehot_y=True, squared_pred=True, batch=True, smooth_nr=0, smooth_dr=1e-7)
    torch.testing.assert_close(
        SquaredDiceLoss(softmax=True, to_onehot_y=True)(logits, classes), other(logits, classes) - 1
    )


@SIZES
@pytest.mark.parametrize("there", [1, 3, 5])
def test_perfect_prediction_of_some_classes(size, there):
    true = onehot((torch.arange(torch.tensor(size).prod()) % there).reshape(1, *size), 5)
    torch.testing.assert_close(squared_dice_loss(true, true), torch.tensor([-there / 5]), rtol=0, atol=1e-6)


def test_range_and_absent_class():
    probs = torch.randn(2, 5, 8, 8).softmax(1).requires_grad_()
    loss = squared_dice_loss(probs, onehot(torch.randint(3, (2, 8, 8)), 5))
    loss.sum().backward()
    assert -1 < loss.item() <= 0
    assert (probs.grad[:, 3:] == 0).all()


def test_group_without_rows_is_zero():
    probs = torch.randn(2, 3, 4, 4).softmax(1).requires_grad_()
    loss = squared_dice_loss(probs, onehot(torch.randint(3, (2, 4, 4)), 3), group=torch.tensor([2, 2]), num_groups=3)
    assert loss[:2].abs().sum() == 0
    loss[:2].sum().backward()
    assert (probs.grad == 0).all()
    assert (squared_dice_loss(probs[:0], probs[:0].detach(), group=torch.zeros(0).long(), num_groups=2) == 0).all()


def test_rows_and_pixels_without_a_label():
    loss = SquaredDiceLoss(softmax=True, to_onehot_y=True)
    logits, labels = torch.randn(3, 3, 4, 4, requires_grad=True), torch.randint(3, (3, 1, 4, 4)).float()
    expected = loss(logits[[0, 2]], labels[[0, 2]])
    with torch.no_grad():
        logits[1] = float("nan")
    actual = loss(logits, labels, torch.tensor([True, False, True]))
    actual.backward()
    torch.testing.assert_close(actual, expected)
    assert logits.grad.isfinite().all()
    assert logits.grad[1].abs().sum() == 0
    labels[0, 0, 0, 0] = 255
    labels[0, 0, 0, 1] = -1
    assert loss(logits[:1].detach(), labels[:1]).isfinite()


def test_gradient():
    probs = torch.rand(2, 3, 2, 2, dtype=torch.float64).requires_grad_()
    true = onehot(torch.randint(3, (2, 2, 2)), 3).double()
    assert gradcheck(lambda p: squared_dice_loss(p, true, group=torch.tensor([1, 0]), num_groups=2), (probs,))


def test_half_precision_is_computed_in_single():
    probs = torch.ones(1, 1, 300, 300, dtype=torch.float16)
    torch.testing.assert_close(squared_dice_loss(probs, probs), torch.tensor([-1.0]))


def test_message():
    with pytest.raises(ValueError, match=r"probs and onehot must have one shape, got \(1, 2, 3\) and \(1, 3, 3\)."):
        squared_dice_loss(torch.zeros(1, 2, 3), torch.zeros(1, 3, 3))
