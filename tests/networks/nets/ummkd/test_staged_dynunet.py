# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DynUNet

from monai_mmseg.networks.nets import StagedDynUNet, share_network


def settings(dims):
    return {
        **{"spatial_dims": dims, "in_channels": 1, "out_channels": 3, "filters": [4, 6, 8, 10]},
        **{"kernel_size": [3] * 4, "strides": [1, 2, 2, 2], "upsample_kernel_size": [2] * 3, "norm_name": "instance"},
    }


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_monais_network(dims):
    torch.manual_seed(0)
    whole = DynUNet(**settings(dims)).eval()
    torch.manual_seed(0)
    staged = StagedDynUNet(**settings(dims)).eval()
    image = torch.rand(2, 1, *[16] * dims)
    torch.testing.assert_close(staged(image), whole(image))
    assert sum(one.numel() for one in staged.parameters()) == sum(one.numel() for one in whole.parameters())


def test_its_ends_can_be_separate():
    staged = StagedDynUNet(**settings(2)).eval().double()
    assert (staged.encoder, staged.ends[3:]) == (
        ["input_block", "down_1", "down_2"],
        ["up_1", "up_2", "up_3", "output_block"],
    )
    image = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    for separate in ("encoder", "ends"):
        net = share_network(staged, ["ct", "mr"], separate).eval()
        assert list(net.separate) == getattr(staged, separate)
        torch.testing.assert_close(net(image, ["ct", "mr"]), staged(image))  # every modality starts from its weights
    with pytest.raises(ValueError, match="deep_supervision must be off"):
        StagedDynUNet(**settings(2), deep_supervision=True)
