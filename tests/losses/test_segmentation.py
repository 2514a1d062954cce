# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.losses import DiceLoss
from torch.autograd import gradcheck

from monai_mmseg.losses import (
    ClassWeightedSegmentationLoss,
    ForegroundDiceLoss,
    SegmentationLoss,
    WeightedCrossEntropyLoss,
    class_weighted_cross_entropy,
    mean_absolute,
    mean_squared,
    onehot_labels,
    squared_foreground_dice,
)
from tests.reference_cases import arrays_of, cases_of

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
WEIGHTS = [1.0, 5.0, 2.0]


# ---- rows, classes weighted by the batch


def test_original_as_trained(costs):
    loss = SegmentationLoss(swapped=True)(costs["pred"], costs["true"])
    torch.testing.assert_close(loss, costs["combined_as_trained"], rtol=1e-5, atol=0)


def test_original_as_named(costs):
    loss = SegmentationLoss()(costs["pred"], costs["true"])
    torch.testing.assert_close(loss, costs["dice_loss"] + 0.01 * costs["wce_named"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [(6, 6), (4, 4, 4)], ids=["2d", "3d"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_is_the_sum_of_its_parts(size, reduction):
    logits, labels = torch.randn(3, 4, *size), torch.randint(4, (3, 1, *size))
    labelled = torch.tensor([True, False, True])
    settings = {"softmax": True, "to_onehot_y": True, "reduction": reduction}
    dice = ForegroundDiceLoss(**settings)(logits, labels, labelled)
    ce = WeightedCrossEntropyLoss(**settings)(logits, labels, labelled)
    loss = SegmentationLoss(**settings, ce_weight=0.5)(logits, labels, labelled)
    assert loss.shape == ((3,) if reduction == "none" else ())
    torch.testing.assert_close(loss, dice + 0.5 * ce)


def test_learns_a_label():
    logits = torch.zeros(1, 3, 6, 6, requires_grad=True)
    labels = torch.randint(3, (1, 1, 6, 6))
    loss = SegmentationLoss(softmax=True, to_onehot_y=True)
    optimizer = torch.optim.Adam([logits], lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        loss(logits, labels).backward()
        optimizer.step()
    torch.testing.assert_close(logits.argmax(1, keepdim=True), labels)


def test_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"ce_weight must not be negative, got -1"):
        SegmentationLoss(ce_weight=-1)


def test_repr_names_the_settings():
    assert "ce_weight=0.01" in repr(SegmentationLoss())
    assert "swapped=True" in repr(SegmentationLoss(swapped=True))


# ---- a batch, classes weighted as given


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
