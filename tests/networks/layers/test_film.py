# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.networks.layers import FiLM, FiLMBlock, film
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.reference_loading import image_of


def test_equals_reference(reference):
    vectors = np.load(reference / "dafnet_film_decoder.npz")
    gamma, beta = (torch.as_tensor(vectors[f"film_{name}"]) for name in ("gamma", "beta"))
    out = film(image_of(vectors["film_h"]), gamma, beta)
    torch.testing.assert_close(out, image_of(vectors["film_mod"]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_unit_scale_and_no_shift_change_nothing(dims):
    x = torch.randn(2, 4, *[5] * dims)
    assert torch.equal(film(x, torch.ones(2, 4), torch.zeros(2, 4)), x)


def test_gradient():
    x, gamma, beta = torch.randn(2, 3, 4), torch.randn(2, 3), torch.randn(2, 3)
    assert torch.autograd.gradcheck(film, [t.double().requires_grad_() for t in (x, gamma, beta)])


def test_layer_by_hand():
    layer = FiLM(style_channels=1, features=2)
    with torch.no_grad():
        layer.gamma.weight.copy_(torch.tensor([[2.0], [-1.0]]))
        layer.beta.weight.copy_(torch.tensor([[-10.0], [1.0]]))
    # gamma = leaky(2, -1) = (2, -0.3), beta = leaky(-10, 1) = (-3, 1)
    out = layer(torch.tensor([[[5.0], [5.0]]]), torch.ones(1, 1))
    torch.testing.assert_close(out, torch.tensor([[[7.0], [-0.5]]]))


class TestFiLM(NetworkTester):
    def make(self, spatial_dims):
        return FiLM(style_channels=5, features=3)

    def inputs(self, spatial_dims):
        return torch.randn(2, 3, *[6] * spatial_dims), torch.randn(2, 5)


class TestFiLMBlock(NetworkTester):
    def make(self, spatial_dims):
        return FiLMBlock(spatial_dims, features=3, style_channels=5)

    def inputs(self, spatial_dims):
        return torch.randn(2, 3, *[6] * spatial_dims), torch.randn(2, 5)

    def test_parameter_count(self):
        assert num_parameters(FiLMBlock(2, 8, 8)) == 2 * 584 + 2 * 72


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_bfloat16_stays_near_single_precision(layout):
    torch.manual_seed(0)
    found, expected = [], []
    for dtype, results in ((torch.bfloat16, found), (torch.float32, expected)):
        torch.manual_seed(1)
        x = torch.rand(2, 4, 5, 6).to(memory_format=layout).to(dtype).requires_grad_()
        gamma, beta = (torch.rand(2, 4).to(dtype).requires_grad_() for _ in range(2))
        out = film(x, gamma, beta)
        assert out.dtype == dtype
        assert out.stride() == x.stride()
        out.sum().backward()
        results += [out, x.grad, gamma.grad, beta.grad]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=2e-2, atol=2e-2)
