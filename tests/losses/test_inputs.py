# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import MetaTensor

from monai_mmseg.losses import (
    ClassWeightedSegmentationLoss,
    FrequencyWeightedCrossEntropyLoss,
    PerSampleLoss,
    SegmentationLoss,
    knowledge_distillation_loss,
)
from monai_mmseg.losses.inputs import at_least_float32, check_same_shape


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.float32),
    ],
)
def test_precision(given, wanted):
    assert at_least_float32(torch.zeros(1, dtype=given)).dtype == wanted


def test_reductions():
    values, mask = torch.tensor([1.0, 3.0, 8.0]), torch.tensor([True, True, False])
    assert PerSampleLoss().reduce(values) == 4
    assert PerSampleLoss().reduce(values, mask) == 2
    assert PerSampleLoss(reduction="sum").reduce(values, mask) == 4
    torch.testing.assert_close(PerSampleLoss(reduction="none").reduce(values, mask), torch.tensor([1.0, 3.0, 0.0]))
    assert repr(PerSampleLoss(reduction="sum")) == "PerSampleLoss(softmax=False, to_onehot_y=False, reduction='sum')"


def test_label_of_an_unlabelled_row_may_be_out_of_range():
    target = torch.tensor([[[0, 1]], [[-1, 7]]])
    probs, onehot = PerSampleLoss(to_onehot_y=True).prepare(torch.rand(2, 2, 2), target, torch.tensor([True, False]))
    assert probs[1].abs().sum() == 0
    torch.testing.assert_close(onehot[0], torch.eye(2))


def test_integer_onehot_is_accepted():
    _, onehot = PerSampleLoss().prepare(torch.rand(1, 2, 2), torch.eye(2, dtype=torch.int64)[None], None)
    assert onehot.dtype == torch.float32


def test_flat_tensors_are_refused():
    with pytest.raises(ValueError, match=r"a must have at least 2 dimensions, got shape \(3,\)\."):
        check_same_shape("a", torch.zeros(3), "b", torch.zeros(3), min_dims=2)


def test_metatensors_of_a_monai_loop():
    pred, target = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 1, 4, 4))
    loss = SegmentationLoss(softmax=True, to_onehot_y=True)
    found = loss(MetaTensor(pred).requires_grad_(), MetaTensor(target), torch.tensor([True, False]))
    assert type(found) is torch.Tensor
    assert found.requires_grad
    torch.testing.assert_close(found.detach(), loss(pred[:1], target[:1]))


@pytest.mark.parametrize(
    "loss",
    [
        SegmentationLoss(softmax=True, to_onehot_y=True),
        FrequencyWeightedCrossEntropyLoss(softmax=True, to_onehot_y=True),
        ClassWeightedSegmentationLoss((1, 5, 5)),
        lambda pred, target: knowledge_distillation_loss([pred, pred], [target, target]),
    ],
)
def test_interpolated_labels_are_refused(loss):
    target = torch.tensor([[[0.0, 0.5, 2.0, 255.0]]])
    with pytest.raises(ValueError, match=r"labels must hold whole numbers, got 0\.5: interpolate them by the nearest"):
        loss(torch.randn(1, 3, 4), target)


def test_nan_is_no_class():
    with pytest.raises(ValueError, match=r"target must hold classes 0 to 2, got nan to nan\."):
        SegmentationLoss(softmax=True, to_onehot_y=True)(torch.randn(1, 3, 2), torch.tensor([[[0.0, torch.nan]]]))


def test_class_indices_compile_in_one_graph():
    torch.compiler.reset()
    loss = SegmentationLoss(softmax=True, to_onehot_y=True)
    pred, target = torch.randn(2, 3, 5), torch.randint(3, (2, 1, 5))
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


def test_logits_in_place_of_probabilities_are_refused():
    pred, target = torch.tensor([[[-2.0, 3.0], [0.5, 0.5]]]), torch.tensor([[[0, 1]]])
    message = r"pred must hold probabilities, got numbers from -2 to 3; softmax=True takes logits\."
    for loss in (SegmentationLoss(to_onehot_y=True), FrequencyWeightedCrossEntropyLoss(to_onehot_y=True)):
        with pytest.raises(ValueError, match=message):
            loss(pred, target)
    assert SegmentationLoss(to_onehot_y=True)(pred.softmax(1), target).isfinite()
    assert ClassWeightedSegmentationLoss((1, 5))(pred, target).isfinite()
