# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.losses import PatchAdversarialLoss
from torch import nn
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence

from monai_mmseg.losses import (
    GaussianKLLoss,
    LeastSquaresAdversarialLoss,
    MeanAbsoluteLoss,
    OffsetPenaltyLoss,
    gaussian_kl,
    least_squares_fake,
    least_squares_real,
    mean_absolute,
    offset_penalty,
    sum_of_squares,
)


def test_original_of_gaussian_kl(costs):
    torch.testing.assert_close(gaussian_kl(costs["mu"], costs["logvar"]), costs["kl"][:, 0], rtol=1e-5, atol=1e-6)


def test_equals_torch_distributions():
    mu, logvar = torch.randn(5, 8), torch.randn(5, 8)
    expected = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(gaussian_kl(mu, logvar), expected)
    torch.testing.assert_close(GaussianKLLoss()(mu, logvar), expected.mean())


def test_zero_at_the_prior_and_nowhere_else():
    assert gaussian_kl(torch.zeros(2, 8), torch.zeros(2, 8)).abs().sum() == 0
    shift = torch.tensor([1e-2, -1e-2, 1e-3, -1e-3, 2.0, -2.0])[:, None]
    assert (gaussian_kl(torch.zeros_like(shift), shift) > 0).all()
    assert (gaussian_kl(shift, torch.zeros_like(shift)) > 0).all()


def test_gradient_of_gaussian_kl():
    mu, logvar = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(gaussian_kl, (mu, logvar))


def test_rows_left_out_of_gaussian_kl():
    mu = torch.tensor([[2.0], [float("nan")]], requires_grad=True)
    logvar = torch.tensor([[0.0], [float("inf")]], requires_grad=True)
    loss = GaussianKLLoss()(mu, logvar, mask=torch.tensor([True, False]))
    loss.backward()
    assert loss == 2
    torch.testing.assert_close(mu.grad, torch.tensor([[2.0], [0.0]]))
    torch.testing.assert_close(logvar.grad, torch.zeros(2, 1))


def test_half_precision_is_computed_in_single_of_gaussian_kl():
    loss = gaussian_kl(torch.zeros(1, 1, dtype=torch.float16), torch.full((1, 1), 12.0, dtype=torch.float16))
    torch.testing.assert_close(loss, torch.tensor([0.5 * (162754.7914 - 13)]))  # exp(12) does not fit in float16


def test_message_of_gaussian_kl():
    with pytest.raises(ValueError, match=r"mu and logvar must have one shape, got \(1, 8\) and \(1, 4\)\."):
        gaussian_kl(torch.zeros(1, 8), torch.zeros(1, 4))


@pytest.mark.parametrize("axes", [2, 3], ids=["2d", "3d"])
def test_known_value(axes):
    offsets = torch.zeros(2, 4, axes)
    offsets[0, 1] = 0.5
    torch.testing.assert_close(offset_penalty(offsets), torch.tensor([0.25 * axes / 4, 0.0]))
    torch.testing.assert_close(OffsetPenaltyLoss()(offsets), torch.tensor(0.25 * axes / 8))


def test_gradient_of_offsets():
    assert gradcheck(offset_penalty, torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True))


def test_rows_left_out_of_offsets():
    offsets = torch.ones(2, 25, 2)
    offsets[1] = float("nan")
    assert OffsetPenaltyLoss()(offsets, mask=torch.tensor([True, False])) == 2


def test_half_precision_is_squared_in_single_of_offsets():
    assert offset_penalty(torch.full((1, 25, 2), 300.0, dtype=torch.float16)) == 180000


def test_message_of_offsets():
    with pytest.raises(ValueError, match=r"offsets must have shape \(N, points, axes\), got \(25, 2\)\."):
        offset_penalty(torch.zeros(25, 2))


def test_original_of_mean_absolute(costs):
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


def test_gradient_of_mean_absolute():
    a, b = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(mean_absolute, (a, b))


def test_rows_left_out_of_mean_absolute():
    a = torch.tensor([[1.0, 2.0], [float("nan"), 1.0]], requires_grad=True)
    loss = MeanAbsoluteLoss()(a, torch.zeros(2, 2), mask=torch.tensor([True, False]))
    loss.backward()
    assert loss == 1.5
    torch.testing.assert_close(a.grad, torch.tensor([[0.5, 0.5], [0.0, 0.0]]))


def test_half_precision_is_summed_in_single():
    loss = mean_absolute(torch.full((1, 70000), 2.0, dtype=torch.float16), torch.zeros(1, 70000, dtype=torch.float16))
    assert loss.dtype == torch.float32
    assert loss == 2


def test_message_of_mean_absolute():
    with pytest.raises(ValueError, match=r"a and b must have one shape, got \(1, 2\) and \(1, 3\)\."):
        mean_absolute(torch.zeros(1, 2), torch.zeros(1, 3))


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


def test_gradient_of_least_squares():
    score = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    assert gradcheck(least_squares_real, score)
    assert gradcheck(least_squares_fake, score)


def test_rows_left_out_of_least_squares():
    score = torch.tensor([[0.5], [float("nan")]], requires_grad=True)
    loss = LeastSquaresAdversarialLoss()(score, True, mask=torch.tensor([True, False]))
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(0.25))
    torch.testing.assert_close(score.grad, torch.tensor([[-1.0], [0.0]]))


def test_half_precision_is_squared_in_single_of_least_squares():
    loss = least_squares_real(torch.tensor([[301.0]], dtype=torch.float16))  # 300² does not fit in float16
    assert loss.dtype == torch.float32
    assert loss == 90000


def test_message_of_least_squares():
    with pytest.raises(ValueError, match="score must have rows"):
        least_squares_real(torch.tensor(1.0))


def test_value_and_gradient():
    parts = [torch.randn(3, 2, requires_grad=True), torch.randn(4, requires_grad=True)]
    loss = sum_of_squares(parts)
    loss.backward()
    torch.testing.assert_close(loss, torch.cat([part.flatten() for part in parts]).norm() ** 2)
    for part in parts:
        torch.testing.assert_close(part.grad, 2 * part.detach())
    assert sum_of_squares([]) == 0


def test_half_of_it_is_weight_decay_of_adam():
    torch.manual_seed(0)
    image, nets = torch.randn(4, 3), [nn.Linear(3, 2), nn.Linear(3, 2)]
    nets[1].load_state_dict(nets[0].state_dict())
    steps = [torch.optim.Adam(nets[0].parameters(), 0.1), torch.optim.Adam(nets[1].parameters(), 0.1, weight_decay=0.3)]
    for _ in range(3):
        for step, net, scale in zip(steps, nets, (0.3, 0.0), strict=True):
            step.zero_grad()
            (net(image).square().mean() + scale * 0.5 * sum_of_squares(net.parameters())).backward()
            step.step()
    torch.testing.assert_close(nets[0].weight, nets[1].weight)


def test_half_precision_is_computed_in_single_of_squares():
    assert sum_of_squares([torch.full((300, 300), 2.0, dtype=torch.float16)]) == 360000


def test_reductions():
    score = torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(LeastSquaresAdversarialLoss(reduction="sum")(score, False), torch.tensor(10.0))
    rows = LeastSquaresAdversarialLoss(reduction="none")(score, True, torch.tensor([False, True]))
    torch.testing.assert_close(rows, torch.tensor([0.0, 4.0]))
