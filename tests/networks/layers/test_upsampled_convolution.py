# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Nearest upsampling and convolution in one, against the two steps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monai_mmseg.networks.layers.upsampled_convolution import convolve_upsampled

CASES = [  # spatial size
    (3, 5),
    (1, 1),
    (2, 3, 4),
]


@pytest.mark.parametrize("size", CASES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_upsampling_and_convolution(size, with_bias):
    torch.manual_seed(0)
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    weight = torch.randn(4, 3, *[3] * len(size), dtype=torch.float64)
    bias = torch.randn(4, dtype=torch.float64) if with_bias else None
    convolve = F.conv2d if len(size) == 2 else F.conv3d
    expected = convolve(F.interpolate(image, scale_factor=2.0, mode="nearest"), weight, bias, padding=1)
    torch.testing.assert_close(convolve_upsampled(image, weight, bias), expected)


def test_gradients():
    torch.manual_seed(0)
    inputs = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in [(1, 2, 2, 3), (3, 2, 3, 3), (3,)]
    ]
    assert torch.autograd.gradcheck(convolve_upsampled, inputs)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 5, 5), (1, 1, 3, 1)])
def test_refuses_other_kernels(shape):
    with pytest.raises(ValueError, match=r"weight must have a kernel of 3 along two or three axes, got shape \("):
        convolve_upsampled(torch.zeros(1, 1, 4, 4), torch.zeros(shape))
