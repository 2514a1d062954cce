# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.inferers import SliceInferer, SlidingWindowInferer
from torch import nn

from monai_mmseg.inferers import DownstreamInferer
from monai_mmseg.networks.nets import ImputedModalitiesNet


def test_each_slice_gets_its_own_average():
    network = ImputedModalitiesNet(nn.Conv2d(6, 2, 3, padding=1), ("t1", "t2"), in_channels=3, fill="average").eval()
    network.set_average(torch.rand(2, 6, 8, 8, 5))
    volume = torch.rand(2, 6, 8, 8, 5)
    volume[0, :3] = torch.nan
    volume[1, 3:] = torch.nan
    slices = torch.arange(5)
    infer = DownstreamInferer(SliceInferer(roi_size=(8, 8), sw_batch_size=2, spatial_dim=2))
    with torch.no_grad():
        found = infer(volume, network)
        expected = [network(image.movedim(-1, 0), slices=slices).movedim(0, -1) for image in volume]
    torch.testing.assert_close(found, torch.stack(expected))


def test_windows_get_their_part_of_the_average():
    network = ImputedModalitiesNet(nn.Conv3d(2, 2, 1), ("t1", "t2"), fill="average").eval()
    network.set_average(torch.rand(2, 2, 8, 8, 6))
    volume = torch.rand(1, 2, 8, 8, 6)
    volume[:, 1] = torch.nan
    with torch.no_grad():
        found = DownstreamInferer(SlidingWindowInferer(roi_size=(8, 8, 4), overlap=0.5))(volume, network)
        torch.testing.assert_close(found, network(volume))


def test_what_the_inputs_are_told():
    network = ImputedModalitiesNet(nn.Identity(), ("t1", "t2"))
    volume = torch.rand(1, 2, 4, 4, 3)
    infer = DownstreamInferer(SliceInferer(roi_size=(4, 4), spatial_dim=2))
    found = infer(volume, network, present=torch.tensor([[True, False]]))
    torch.testing.assert_close(found[:, 0], volume[:, 0])
    assert not found[:, 1].any()


def test_messages():
    with pytest.raises(TypeError, match="inferer must be an inferer, got int"):
        DownstreamInferer(3)
    infer = DownstreamInferer(SliceInferer(roi_size=(4, 4), spatial_dim=2))
    with pytest.raises(TypeError, match="network must be a DownstreamNet, .* got Identity"):
        infer(torch.zeros(1, 1, 4, 4, 3), nn.Identity())
