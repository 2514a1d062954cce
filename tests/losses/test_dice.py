# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.losses import DiceLoss
from torch.autograd import gradcheck

from monai_mmseg.losses import ForegroundDiceLoss, SquaredDiceLoss, foreground_dice_loss, squared_dice_loss
from tests.losses.ummkd_cases import CASES, case

EXACT = {"rtol": 0, "atol": 1e-12}
SIZES = pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])


def onehot(classes, num_classes):
    return torch.eye(num_classes)[torch.as_tensor(classes)].movedim(-1, 1)


# ---- one row, all organs in one sum


def test_original_of_foreground(costs):
    loss = foreground_dice_loss(costs["pred"], costs["true"])
    torch.testing.assert_close(loss, costs["dice_perbatch"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss.mean(), costs["dice_loss"], rtol=1e-5, atol=0)
    torch.testing.assert_close(
        ForegroundDiceLoss()(costs["pred"], costs["true"]), costs["dice_loss"], rtol=1e-5, atol=0
    )


COUNTED = [  # pred classes, true classes, expected: 1 - 2 hits / (pixels of both), counted by hand
    ("identical", [[0, 1, 2, 2]], [[0, 1, 2, 2]], 0.0),
    ("both empty", [[0, 0, 0, 0]], [[0, 0, 0, 0]], 0.0),
    ("missed", [[0, 0, 0, 0]], [[0, 1, 2, 2]], 1.0),
    ("spurious", [[0, 1, 2, 2]], [[0, 0, 0, 0]], 1.0),
    ("classes exchanged", [[0, 2, 1, 1]], [[0, 1, 2, 2]], 1.0),
    ("pooled over classes", [[0, 0, 2, 2]], [[0, 1, 2, 2]], 1 - 4 / 5),
    ("volume", [[[[0, 1], [1, 1]], [[2, 0], [0, 0]]]], [[[[0, 1], [0, 0]], [[2, 0], [0, 2]]]], 1 - 4 / 7),
]


@pytest.mark.parametrize(("name", "pred", "true", "expected"), COUNTED)
def test_known_value(name, pred, true, expected):
    loss = foreground_dice_loss(onehot(pred, 3), onehot(true, 3))
    torch.testing.assert_close(loss, torch.tensor([expected]))


@SIZES
def test_equals_monai_for_one_organ(size):
    probs, true = torch.randn(3, 2, *size).softmax(1), onehot(torch.randint(2, (3, *size)).tolist(), 2)
    expected = DiceLoss(include_background=False, smooth_nr=1e-12, smooth_dr=1e-12)(probs, true)
    torch.testing.assert_close(ForegroundDiceLoss()(probs, true), expected)


@SIZES
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


def test_gradient_of_foreground():
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


# ---- a batch, with squares


@pytest.mark.parametrize("name", CASES)
def test_original_of_squares(name):
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


def test_gradient_of_squares():
    probs = torch.rand(2, 3, 2, 2, dtype=torch.float64).requires_grad_()
    true = onehot(torch.randint(3, (2, 2, 2)), 3).double()
    assert gradcheck(lambda p: squared_dice_loss(p, true, group=torch.tensor([1, 0]), num_groups=2), (probs,))


def test_half_precision_is_computed_in_single():
    probs = torch.ones(1, 1, 300, 300, dtype=torch.float16)
    torch.testing.assert_close(squared_dice_loss(probs, probs), torch.tensor([-1.0]))


def test_message():
    with pytest.raises(ValueError, match=r"probs and onehot must have one shape, got \(1, 2, 3\) and \(1, 3, 3\)."):
        squared_dice_loss(torch.zeros(1, 2, 3), torch.zeros(1, 3, 3))
