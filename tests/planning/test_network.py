# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The network of a plan fits its size, and its memory is counted."""

from __future__ import annotations

import math

import pytest
import torch
from monai.bundle import ConfigParser

from monai_mmseg.planning.network import step_bytes, unet_definition, unet_levels, unet_widths

SIZES = [([32, 40], [1, 1]), ([64, 64], [1, 1]), ([48, 32, 8], [1, 1, 8]), ([32, 32, 16], [1, 1, 1])]


@pytest.mark.parametrize(("size", "spacing"), SIZES)
def test_network_takes_the_size(size, spacing):
    definition = unet_definition(size, spacing, features=unet_widths(4, len(unet_levels(size, spacing)[1])))
    network = ConfigParser({"labels": [0, 1, 2], "network": definition}).get_parsed_content("network").eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize(("size", "spacing"), SIZES)
def test_bottom_keeps_some_voxels(size, spacing):
    strides = torch.tensor(unet_levels(size, spacing)[1]).prod(0)
    bottom = torch.tensor(size) // strides
    assert (torch.tensor(size) % strides == 0).all()
    assert int(bottom.min()) >= 4


def test_memory_grows_with_the_samples():
    # the count grows with the samples and with nothing else
    one, three = (step_bytes([32, 32], [1, 1], channels=1, classes=2, base=4, batch=b) for b in (1, 3))
    two = step_bytes([32, 32], [1, 1], channels=1, classes=2, base=4, batch=2)
    assert three - two == pytest.approx(two - one, rel=0.01)
    assert two - one > 4 * 4 * math.prod([32, 32])  # at least the widest map of the first level
