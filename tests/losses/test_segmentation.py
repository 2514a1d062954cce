# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_mmseg.losses import ForegroundDiceLoss, SegmentationLoss, WeightedCrossEntropyLoss


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
