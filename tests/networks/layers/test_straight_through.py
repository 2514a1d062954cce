# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.networks.layers import straight_through_argmax, straight_through_round


def test_rounding_equals_reference(reference):
    vectors = np.load(reference / "dafnet_costs.npz")
    x = torch.as_tensor(vectors["round_in"]).requires_grad_()
    out = straight_through_round(x)
    out.backward(torch.as_tensor(vectors["round_upstream"]))
    torch.testing.assert_close(out, torch.as_tensor(vectors["round_out"]), rtol=0, atol=0)
    torch.testing.assert_close(x.grad, torch.as_tensor(vectors["round_grad"]), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_forward_is_exact(dtype):
    x = torch.rand(4, 8, 16, 16).softmax(1).to(dtype)
    rounded, chosen = straight_through_round(x), straight_through_argmax(x)
    assert rounded.dtype == chosen.dtype == dtype
    assert set(rounded.unique().tolist()) <= {0.0, 1.0}
    assert set(chosen.unique().tolist()) == {0.0, 1.0}


def test_channel_sums():
    x = (6 * torch.randn(4, 8, 16, 16)).softmax(1)
    assert set(straight_through_round(x).sum(1).unique().tolist()) == {0.0, 1.0}
    assert straight_through_argmax(x).sum(1).unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("x", "expected"),
    [([0.5, 0.5, 0.0], [0.0, 0.0, 0.0]), ([0.51, 0.49, 0.0], [1.0, 0.0, 0.0]), ([0.4, 0.3, 0.3], [0.0, 0.0, 0.0])],
)
def test_pixel_without_majority_has_no_channel(x, expected):
    assert straight_through_round(torch.tensor(x)).tolist() == expected


@pytest.mark.parametrize(
    ("x", "expected"),
    [([0.5, 0.5, 0.0], [1.0, 0.0, 0.0]), ([0.3, 0.3, 0.4], [0.0, 0.0, 1.0]), ([-3.0, -2.0, -4.0], [0.0, 1.0, 0.0])],
)
def test_argmax_takes_the_first_largest(x, expected):
    assert straight_through_argmax(torch.tensor([x]), dim=1).tolist() == [expected]
    assert straight_through_argmax(torch.tensor(x), dim=-1).tolist() == expected


@pytest.mark.parametrize("function", [straight_through_round, straight_through_argmax])
def test_gradient_is_the_identity(function):
    x, upstream = torch.rand(2, 4, 5, 6, requires_grad=True), torch.randn(2, 4, 5, 6)
    function(x).backward(upstream)
    assert torch.equal(x.grad, upstream)


@pytest.mark.parametrize("function", [straight_through_round, straight_through_argmax])
def test_scripts(function):
    x = torch.rand(2, 4, 5)
    assert torch.equal(torch.jit.script(function)(x), function(x))
