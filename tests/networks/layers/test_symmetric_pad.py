# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.networks.layers import SymmetricPad
from monai_mmseg.networks.layers.symmetric_pad import symmetric_pad


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5), (1, 2, 4, 3, 5)])
@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_as_numpy(shape, width):
    image = torch.rand(shape)
    widths = [(0, 0), (0, 0)] + [(width, width)] * (len(shape) - 2)
    expected = torch.as_tensor(np.pad(image.numpy(), widths, mode="symmetric"))
    assert torch.equal(symmetric_pad(image, width), expected)
    assert torch.equal(SymmetricPad(width)(image), expected)


@pytest.mark.parametrize("shape", [(1, 2, 4), (1, 1, 3, 4), (1, 1, 2, 3, 4)])
def test_gradient(shape):
    image = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: symmetric_pad(x, 2), image)
    assert torch.autograd.gradgradcheck(lambda x: symmetric_pad(x, 2), image)


def test_gradient_keeps_the_layout():
    image = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    seen = []
    hooked = image * 1
    hooked.register_hook(seen.append)
    symmetric_pad(hooked, 2).square().sum().backward()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_scripts_and_exports():
    layer, image = SymmetricPad(2).eval(), torch.rand(1, 2, 4, 4)
    assert torch.equal(torch.jit.script(layer)(image), layer(image))
    assert torch.equal(torch.export.export(layer, (image,)).module()(image), layer(image))


def test_negative_width_is_refused():
    with pytest.raises(ValueError, match=r"width must be 0 or more, got -1"):
        SymmetricPad(-1)
