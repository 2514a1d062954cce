# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence

from monai_mmseg.losses import GaussianKLLoss, gaussian_kl


def test_original(costs):
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


def test_gradient():
    mu, logvar = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(gaussian_kl, (mu, logvar))


def test_rows_left_out():
    mu = torch.tensor([[2.0], [float("nan")]], requires_grad=True)
    logvar = torch.tensor([[0.0], [float("inf")]], requires_grad=True)
    loss = GaussianKLLoss()(mu, logvar, torch.tensor([True, False]))
    loss.backward()
    assert loss == 2
    torch.testing.assert_close(mu.grad, torch.tensor([[2.0], [0.0]]))
    torch.testing.assert_close(logvar.grad, torch.zeros(2, 1))


def test_half_precision_is_computed_in_single():
    loss = gaussian_kl(torch.zeros(1, 1, dtype=torch.float16), torch.full((1, 1), 12.0, dtype=torch.float16))
    torch.testing.assert_close(loss, torch.tensor([0.5 * (162754.7914 - 13)]))  # exp(12) does not fit in float16


def test_message():
    with pytest.raises(ValueError, match=r"mu and logvar must have one shape, got \(1, 8\) and \(1, 4\)\."):
        gaussian_kl(torch.zeros(1, 8), torch.zeros(1, 4))
