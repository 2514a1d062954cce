# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch import nn

from monai_mmseg.losses import foreground_dice_loss, weighted_cross_entropy
from monai_mmseg.objectives import SegmentationObjective


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {
        "image": torch.rand(3, 2, 8, 8),
        "label": torch.randint(0, 3, (3, 2, 8, 8)),
        "present": torch.tensor([[True, True], [True, True], [False, True]]),
        "labelled": torch.tensor([[True, False], [True, False], [True, False]]),
    }


def test_copied_masks_pair_target_images_with_source_labels(batch):
    net = nn.Conv2d(1, 3, 1)
    term = SegmentationObjective(net, 3, sources=[(1, 0)])(batch, "segmentation").terms["supervised"]
    probs = net(batch["image"][:, 1:2]).softmax(1)
    onehot = nn.functional.one_hot(batch["label"][:, 0], 3).movedim(-1, 1).float()
    expected = (foreground_dice_loss(probs, onehot) + 0.01 * weighted_cross_entropy(probs, onehot)).mean()
    torch.testing.assert_close(term, expected)


def test_rows_without_image_or_label_change_nothing(batch):
    torch.manual_seed(1)
    objective = SegmentationObjective(nn.Conv2d(1, 3, 1), 3, sources=[(0, 0), (1, 1)])
    before = objective(batch, "segmentation").terms["supervised"]
    batch["image"][2, 0] = float("nan")
    batch["label"][:, 1] = 77
    torch.testing.assert_close(objective(batch, "segmentation").terms["supervised"], before)


def test_a_batch_without_any_usable_row_gives_zero(batch):
    objective = SegmentationObjective(nn.Conv2d(1, 3, 1), 3, sources=[(1, 1)])
    term = objective(batch, "segmentation").terms["supervised"]
    assert term.item() == 0
    term.backward()


def test_candidates_use_the_first_slice(batch):
    net = nn.Conv2d(1, 3, 1)
    plain = SegmentationObjective(net, 3, sources=[(1, 0)])(batch, "segmentation").terms["supervised"]
    wide = dict(batch, image=torch.stack([batch["image"], torch.rand(3, 2, 8, 8)], 2).flatten(1, 2))
    torch.testing.assert_close(
        SegmentationObjective(net, 3, sources=[(1, 0)], candidates=2)(wide, "segmentation").terms["supervised"], plain
    )


def test_errors():
    with pytest.raises(ValueError, match=r"sources must hold pairs \(image modality, label modality\), got \[\]"):
        SegmentationObjective(nn.Conv2d(1, 3, 1), 3, sources=[])
    with pytest.raises(ValueError, match="no term 'supervise': did you mean supervised"):
        SegmentationObjective(nn.Conv2d(1, 3, 1), 3, weights={"segmentation": {"supervise": 1}})
