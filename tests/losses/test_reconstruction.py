# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.autograd import gradcheck

from monai_mmseg.losses import MeanAbsoluteLoss, mean_absolute


def test_original(costs):
    torch.testing.assert_close(
        mean_absolute(costs["x"], costs["y"]), costs["mae_single_input"][:, 0], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(3, 8), (3, 1, 4, 4), (3, 1, 2, 3, 4)])
def test_equals_torch(shape):
    a, b = torch.randn(shape), torch.randn(shape)
    torch.testing.assert_close(MeanAbsoluteLoss()(a, b), torch.nn.L1Loss()(a, b))


def test_known_value_per_row():
    loss = mean_absolute(torch.tensor([[1.0, -3.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
    torch.testing.assert_close(loss, torch.tensor([2.5, 0.0]))


def test_gradient():
    a, b = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(mean_absolute, (a, b))


def test_rows_left_out():
    a = torch.tensor([[1.0, 2.0], [float("nan"), 1.0]], requires_grad=True)
    loss = MeanAbsoluteLoss()(a, torch.zeros(2, 2), torch.tensor([True, False]))
    loss.backward()
    assert loss == 1.5
    torch.testing.assert_close(a.grad, torch.tensor([[0.5, 0.5], [0.0, 0.0]]))


def test_half_precision_is_summed_in_single():
    loss = mean_absolute(torch.full((1, 70000), 2.0, dtype=torch.float16), torch.zeros(1, 70000, dtype=torch.float16))
    assert loss.dtype == torch.float32
    assert loss == 2


def test_message():
    with pytest.raises(ValueError, match=r"a and b must have one shape, got \(1, 2\) and \(1, 3\)\."):
        mean_absolute(torch.zeros(1, 2), torch.zeros(1, 3))
