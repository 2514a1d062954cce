# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.networks.layers.spatial_check import require_spatial_size


@pytest.mark.parametrize("check", [require_spatial_size, torch.jit.script(require_spatial_size)])
def test_says_what_came_and_what_was_wanted(check):
    check(torch.zeros(2, 1, 4, 5), [4, 5], "image")
    with pytest.raises(
        Exception, match=r"image must have the spatial size \[4, 5\] that the network was built for, got \[5, 4\]"
    ):
        check(torch.zeros(2, 1, 5, 4), [4, 5], "image")
