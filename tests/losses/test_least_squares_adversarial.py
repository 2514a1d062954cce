# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.losses import PatchAdversarialLoss
from torch.autograd import gradcheck

from monai_mmseg.losses import LeastSquaresAdversarialLoss, least_squares_fake, least_squares_real


@pytest.mark.parametrize("shape", [(4, 1), (4, 1, 3, 3), (4, 1, 2, 2, 2)])
@pytest.mark.parametrize("real", [True, False])
def test_equals_monai(shape, real):
    score = torch.randn(shape)
    expected = PatchAdversarialLoss(no_activation_leastsq=True)(score, target_is_real=real, for_discriminator=True)
    torch.testing.assert_close(LeastSquaresAdversarialLoss()(score, real), expected)


def test_known_values_per_row():
    score = torch.tensor([[1.0], [0.0], [3.0]])
    torch.testing.assert_close(least_squares_real(score), torch.tensor([0.0, 1.0, 4.0]))
    torch.testing.assert_close(least_squares_fake(score), torch.tensor([1.0, 0.0, 9.0]))
    torch.testing.assert_close(LeastSquaresAdversarialLoss(reduction="sum")(score, False), torch.tensor(10.0))


def test_gradient():
    score = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    assert gradcheck(least_squares_real, score)
    assert gradcheck(least_squares_fake, score)


def test_rows_left_out():
    score = torch.tensor([[0.5], [float("nan")]], requires_grad=True)
    loss = LeastSquaresAdversarialLoss()(score, True, torch.tensor([True, False]))
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(0.25))
    torch.testing.assert_close(score.grad, torch.tensor([[-1.0], [0.0]]))
    # a row left out has a distance of 1 from "real" after it was emptied: it must not show
    rows = LeastSquaresAdversarialLoss(reduction="none")(score, True, torch.tensor([True, False]))
    torch.testing.assert_close(rows.detach(), torch.tensor([0.25, 0.0]))


def test_half_precision_is_squared_in_single():
    loss = least_squares_real(torch.tensor([[301.0]], dtype=torch.float16))  # 300² does not fit in float16
    assert loss.dtype == torch.float32
    assert loss == 90000


def test_message():
    with pytest.raises(ValueError, match="score must have rows"):
        least_squares_real(torch.tensor(1.0))
