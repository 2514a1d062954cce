# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.losses import DiceLoss
from torch.autograd import gradcheck

from monai_mmseg.losses import (
    ClassWeightedSegmentationLoss,
    class_weighted_cross_entropy,
    mean_absolute,
    mean_squared,
    onehot_labels,
    squared_foreground_dice,
)
from tests.reference_cases import arrays_of, cases_of

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
WEIGHTS = [1.0, 5.0, 2.0]


@pytest.mark.parametrize("case", cases_of("disentangle_targets_metrics"))
def test_original(case):
    arrays = arrays_of("disentangle_targets_metrics", case)
    found = ClassWeightedSegmentationLoss()(arrays["logits"], arrays["labels"])
    torch.testing.assert_close(found, arrays["seg_loss"].float(), **CLOSE)
    for loss, name in ((mean_absolute, "l1"), (mean_squared, "l2")):
        torch.testing.assert_close(loss(arrays["y"], arrays["target"]).mean(), arrays[name].float(), **CLOSE)


def batch_of(dims=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(dims)
    size = (6, 5, 4)[:dims]
    logits = torch.randn(4, 3, *size, generator=generator, dtype=dtype)
    return logits, torch.randint(3, (4, 1, *size), generator=generator)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_as_torch_and_monai(dims):
    logits, label = batch_of(dims)
    onehot = onehot_labels(label, 3, logits.dtype)
    expected = torch.nn.functional.cross_entropy(logits, label[:, 0], torch.tensor(WEIGHTS, dtype=logits.dtype))
    torch.testing.assert_close(class_weighted_cross_entropy(logits, onehot, class_weights=WEIGHTS), expected)
    dice = DiceLoss(include_background=False, squared_pred=True, batch=True, smooth_nr=0, smooth_dr=1e-6)
    probs = logits.softmax(1)
    torch.testing.assert_close(squared_foreground_dice(probs, onehot), dice(probs, onehot))


def test_gradients():
    logits, label = batch_of(1)
    loss = ClassWeightedSegmentationLoss(WEIGHTS)
    labelled = torch.tensor([True, True, False, True])
    assert gradcheck(lambda x: loss(x, label, labelled), logits.clone().requires_grad_())


def test_what_has_no_label_changes_nothing():
    logits, label = batch_of()
    loss = ClassWeightedSegmentationLoss(WEIGHTS)
    labelled = torch.tensor([True, False, True, True])
    logits = logits.requires_grad_()
    found = loss(torch.cat([logits[:1], logits[1:2] * float("nan"), logits[2:]]), label, labelled)
    torch.testing.assert_close(found, loss(logits[labelled], label[labelled]))
    found.backward()
    assert not logits.grad[1].nan_to_num().any()
    # pixels of another value are no pixels
    wide = torch.cat([logits.detach(), 9 * torch.ones_like(logits[..., :2])], -1)
    unknown = torch.full_like(label[..., :2], 255)
    torch.testing.assert_close(loss(wide, torch.cat([label, unknown], -1)), loss(logits, label))
    nothing = loss(logits, label, torch.zeros(4, dtype=torch.bool))
    assert nothing == 1  # no class has a pixel
    assert loss(logits.half(), label).dtype == torch.float32


def test_messages():
    logits, label = batch_of()
    with pytest.raises(ValueError, match="class_weights must hold 3 numbers"):
        ClassWeightedSegmentationLoss()(logits, label)
    with pytest.raises(ValueError, match="probs must have a background and at least one foreground channel"):
        squared_foreground_dice(logits[:, :1], logits[:, :1])
    with pytest.raises(ValueError, match="logits and onehot must have one shape"):
        class_weighted_cross_entropy(logits, label, class_weights=WEIGHTS)
