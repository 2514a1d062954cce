# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.autograd import gradcheck

from monai_mmseg.losses import OffsetPenaltyLoss, offset_penalty


@pytest.mark.parametrize("axes", [2, 3], ids=["2d", "3d"])
def test_known_value(axes):
    offsets = torch.zeros(2, 4, axes)
    offsets[0, 1] = 0.5
    torch.testing.assert_close(offset_penalty(offsets), torch.tensor([0.25 * axes / 4, 0.0]))
    torch.testing.assert_close(OffsetPenaltyLoss()(offsets), torch.tensor(0.25 * axes / 8))


def test_gradient():
    assert gradcheck(offset_penalty, torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True))


def test_rows_left_out():
    offsets = torch.ones(2, 25, 2)
    offsets[1] = float("nan")
    assert OffsetPenaltyLoss()(offsets, torch.tensor([True, False])) == 2


def test_half_precision_is_squared_in_single():
    assert offset_penalty(torch.full((1, 25, 2), 300.0, dtype=torch.float16)) == 180000


def test_message():
    with pytest.raises(ValueError, match=r"offsets must have shape \(N, points, axes\), got \(25, 2\)\."):
        offset_penalty(torch.zeros(25, 2))
