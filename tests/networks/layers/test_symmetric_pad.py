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


def test_gradient():
    image = torch.rand(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: symmetric_pad(x, 2), image)


def test_scripts_and_exports():
    layer, image = SymmetricPad(2).eval(), torch.rand(1, 2, 4, 4)
    assert torch.equal(torch.jit.script(layer)(image), layer(image))
    assert torch.equal(torch.export.export(layer, (image,)).module()(image), layer(image))


def test_negative_width_is_refused():
    with pytest.raises(ValueError, match=r"width must be 0 or more, got -1"):
        SymmetricPad(-1)
