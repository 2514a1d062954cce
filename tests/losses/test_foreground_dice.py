# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.losses import DiceLoss
from torch.autograd import gradcheck

from monai_mmseg.losses import ForegroundDiceLoss, foreground_dice_loss


def onehot(classes, num_classes):
    return torch.eye(num_classes)[torch.tensor(classes)].movedim(-1, 1)


def test_original(costs):
    loss = foreground_dice_loss(costs["pred"], costs["true"])
    torch.testing.assert_close(loss, costs["dice_perbatch"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss.mean(), costs["dice_loss"], rtol=1e-5, atol=0)
    torch.testing.assert_close(
        ForegroundDiceLoss()(costs["pred"], costs["true"]), costs["dice_loss"], rtol=1e-5, atol=0
    )


CASES = [  # pred classes, true classes, expected: 1 - 2 hits / (pixels of both), counted by hand
    ("identical", [[0, 1, 2, 2]], [[0, 1, 2, 2]], 0.0),
    ("both empty", [[0, 0, 0, 0]], [[0, 0, 0, 0]], 0.0),
    ("missed", [[0, 0, 0, 0]], [[0, 1, 2, 2]], 1.0),
    ("spurious", [[0, 1, 2, 2]], [[0, 0, 0, 0]], 1.0),
    ("classes exchanged", [[0, 2, 1, 1]], [[0, 1, 2, 2]], 1.0),
    ("pooled over classes", [[0, 0, 2, 2]], [[0, 1, 2, 2]], 1 - 4 / 5),
    ("volume", [[[[0, 1], [1, 1]], [[2, 0], [0, 0]]]], [[[[0, 1], [0, 0]], [[2, 0], [0, 2]]]], 1 - 4 / 7),
]


@pytest.mark.parametrize(("name", "pred", "true", "expected"), CASES)
def test_known_value(name, pred, true, expected):
    loss = foreground_dice_loss(onehot(pred, 3), onehot(true, 3))
    torch.testing.assert_close(loss, torch.tensor([expected]))


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])
def test_equals_monai_for_one_organ(size):
    probs, true = torch.randn(3, 2, *size).softmax(1), onehot(torch.randint(2, (3, *size)).tolist(), 2)
    expected = DiceLoss(include_background=False, smooth_nr=1e-12, smooth_dr=1e-12)(probs, true)
    torch.testing.assert_close(ForegroundDiceLoss()(probs, true), expected)


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])
def test_stays_between_zero_and_one(size):
    loss = foreground_dice_loss(torch.rand(5, 4, *size).softmax(1), onehot(torch.randint(4, (5, *size)).tolist(), 4))
    assert ((loss >= 0) & (loss <= 1)).all()


def test_logits_and_class_indices_as_in_monai():
    logits, labels = torch.randn(3, 4, 6, 6), torch.randint(4, (3, 1, 6, 6))
    expected = foreground_dice_loss(logits.softmax(1), onehot(labels[:, 0].tolist(), 4))
    loss = ForegroundDiceLoss(softmax=True, to_onehot_y=True, reduction="none")(logits, labels)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        ForegroundDiceLoss(softmax=True, to_onehot_y=True, reduction="sum")(logits, labels), expected.sum()
    )


def test_gradient():
    probs = torch.rand(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    true = onehot(torch.randint(3, (2, 2, 3)).tolist(), 3).double()
    assert gradcheck(foreground_dice_loss, (probs, true))
    assert gradcheck(lambda p: foreground_dice_loss(p, true, labelled=torch.tensor([True, False])), (probs,))


def test_rows_without_a_label_change_nothing():
    logits = torch.randn(3, 3, 4, 4, requires_grad=True)
    labels = torch.randint(3, (3, 1, 4, 4)).float()
    loss = ForegroundDiceLoss(softmax=True, to_onehot_y=True)
    expected = loss(logits[:2], labels[:2])
    labels[2] = float("nan")
    with torch.no_grad():
        logits[2] = float("inf")
    actual = loss(logits, labels, torch.tensor([True, True, False]))
    actual.backward()
    torch.testing.assert_close(actual, expected)
    assert logits.grad.isfinite().all()
    assert logits.grad[2].abs().sum() == 0
    assert logits.grad[:2].abs().sum() > 0


def test_no_row_with_a_label():
    probs = torch.rand(2, 3, 4, 4, requires_grad=True)
    loss = ForegroundDiceLoss()(probs, torch.zeros(2, 3, 4, 4), torch.tensor([False, False]))
    loss.backward()
    assert loss == 0
    assert probs.grad.abs().sum() == 0


def test_gradient_is_finite_at_certain_and_empty_predictions():
    probs = onehot([[0, 0, 0, 0], [1, 2, 0, 0]], 3).requires_grad_()
    foreground_dice_loss(probs, onehot([[0, 0, 0, 0], [0, 0, 1, 1]], 3)).sum().backward()
    assert probs.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    # 300 x 300 pixels do not fit into a float16 sum (65504)
    true = torch.zeros(1, 2, 300, 300, dtype=dtype)
    true[:, 1] = 1
    loss = foreground_dice_loss(true, true)
    assert loss.dtype == torch.float32
    assert loss == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: foreground_dice_loss(torch.zeros(1, 2, 3), torch.zeros(1, 3, 3)),
            "probs and onehot must have one shape, got (1, 2, 3) and (1, 3, 3).",
        ),
        (
            lambda: foreground_dice_loss(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)),
            "at least one foreground channel, got 1.",
        ),
        (
            lambda: foreground_dice_loss(torch.zeros(2, 2), torch.zeros(2, 2)),
            "probs must have at least 3 dimensions, got shape (2, 2).",
        ),
        (
            lambda: foreground_dice_loss(torch.zeros(2, 2, 3), torch.zeros(2, 2, 3), labelled=torch.ones(2)),
            "labelled must be torch.bool of shape (2,), got torch.float32 of shape (2,).",
        ),
        (
            lambda: ForegroundDiceLoss(to_onehot_y=True)(torch.zeros(2, 2, 3), torch.zeros(2, 3)),
            "target must hold class indices of shape (2, 1, 3), got shape (2, 3).",
        ),
        (
            lambda: ForegroundDiceLoss(to_onehot_y=True)(torch.zeros(1, 2, 2), torch.tensor([[[0, 2]]])),
            "target must hold classes 0 to 1, got 0 to 2.",
        ),
        (
            lambda: ForegroundDiceLoss()(torch.zeros(1, 2, 2), torch.zeros(1, 1, 2)),
            "pred and target must have one shape, got (1, 2, 2) and (1, 1, 2).",
        ),
        (lambda: ForegroundDiceLoss(reduction="median"), "median"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


def test_repr_names_the_settings():
    assert (
        repr(ForegroundDiceLoss(softmax=True))
        == "ForegroundDiceLoss(softmax=True, to_onehot_y=False, reduction='mean')"
    )
