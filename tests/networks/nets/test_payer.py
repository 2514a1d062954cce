# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io

import pytest
import torch
from monai.networks.blocks import Convolution
from torch import nn

from monai_mmseg.networks.nets import AnisotropicUNet, LocalisedNet, LowResolutionNet, SpatialConfigurationNet
from tests.networks.network_tester import NetworkTester, num_parameters


def u_net(spatial_dims, **settings):
    return AnisotropicUNet(spatial_dims, 1, 3, features=(2, 4, 6, 8), **settings)


class TestSpatialConfigurationNet(NetworkTester):
    def make(self, spatial_dims):
        appearance = Convolution(spatial_dims, 1, 3, norm="instance")
        return SpatialConfigurationNet(spatial_dims, appearance, 3, features=4, depth=2, kernel_size=3)

    def inputs(self, spatial_dims):
        return (torch.rand(2, 1, 32, *[16] * (spatial_dims - 1)),)

    may_have_zero_gradient = ("appearance.conv.bias",)


class _Finds(nn.Module):
    """Foreground where the image is bright."""

    def forward(self, image):
        return torch.cat([0 * image, 20 * (image - 0.5)], 1)


class _Copies(nn.Module):
    def forward(self, image):
        return torch.cat([torch.zeros_like(image), image], 1)


def test_parameter_count():
    """U-Net of the fact sheet, and by hand: 5 -> 64, twice 64 -> 64 and 64 -> 5, of 5 x 5 x 5, each with a bias."""
    with torch.device("meta"):
        network = SpatialConfigurationNet(3, AnisotropicUNet(3, 1, 5), 5)
    assert num_parameters(network.configuration) == 2 * 125 * 5 * 64 + 2 * 125 * 64 * 64 + 3 * 64 + 5
    assert num_parameters(network) == 2_201_589 + 1_104_197


def test_product_begins_with_the_appearance_alone():
    torch.manual_seed(0)
    network, image = SpatialConfigurationNet(2, u_net(2), 3, features=4, factor=(4, 8)).eval(), torch.rand(1, 1, 32, 16)
    nn.init.zeros_(network.configuration[-1].conv.weight)
    torch.testing.assert_close(network(image), network.appearance(image))
    network.configuration[-1].conv.bias.data = torch.tensor([2.0, 0.0, -1.0])
    expected = network.appearance(image) * torch.tensor([2.0, 0.0, -1.0])[:, None, None]
    torch.testing.assert_close(network(image), expected)


def test_low_resolution_sees_means():
    network = LowResolutionNet(2, nn.Identity(), factor=(4, 1))
    image = torch.arange(8.0).reshape(1, 1, 8, 1)
    assert network.down(image).flatten().tolist() == [1.5, 5.5]
    assert network(image).shape == image.shape


@pytest.mark.parametrize("dims", [2, 3])
def test_crop_lies_around_what_is_found_and_goes_back_to_its_place(dims):
    network = LocalisedNet(_Finds(), _Copies(), [4] * dims)
    image = torch.zeros(3, 1, *[12] * dims)
    image[0, 0][(slice(5, 7),) * dims] = 1  # centre 5.5: voxels 4 to 7
    image[1, 0][(slice(0, 1),) * dims] = 1  # in a corner: the crop stays inside
    assert network.starts(image).tolist() == [[4] * dims, [0] * dims, [4] * dims]  # nothing found: the middle
    logits = network(image)
    torch.testing.assert_close(logits[:, 1:], image)
    outside = torch.full([12] * dims, 10.0)
    outside[(slice(4, 8),) * dims] = 0
    torch.testing.assert_close(logits[0, 0], outside)


def test_localiser_stays_as_it_is():
    torch.manual_seed(0)
    network = LocalisedNet(LowResolutionNet(3, u_net(3)), u_net(3), (8, 8, 8)).train()
    before = {key: value.clone() for key, value in network.localiser.state_dict().items()}
    network(torch.rand(2, 1, 16, 16, 16)).square().mean().backward()
    torch.testing.assert_close(network.localiser.state_dict(), before)
    assert all(p.grad is None for p in network.localiser.parameters())
    assert all(p.grad is not None for p in network.network.parameters())


def test_exports():
    torch.manual_seed(0)
    network = LocalisedNet(LowResolutionNet(2, nn.Conv2d(1, 3, 3, padding=1)), nn.Conv2d(1, 3, 1), (8, 8)).eval()
    image = torch.rand(2, 1, 32, 16)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(network, (image,)).module()(image), network(image))
        torch.testing.assert_close(torch.jit.trace(network, image)(image), network(image))
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(network), file)
        file.seek(0)
        torch.testing.assert_close(torch.jit.load(file)(image), network(image))


def test_localiser_of_a_file(tmp_path):
    first, network = (
        nn.Sequential(LowResolutionNet(2, u_net(2))),
        LocalisedNet(LowResolutionNet(2, u_net(2)), u_net(2), (8, 8)),
    )
    torch.save(first.state_dict(), tmp_path / "first.pt")
    network.load_localiser(tmp_path / "first.pt")
    torch.testing.assert_close(network.localiser.state_dict(), first[0].state_dict())
    torch.save(network.state_dict(), tmp_path / "own.pt")
    again = LocalisedNet(LowResolutionNet(2, u_net(2)), u_net(2), (8, 8))
    again.load_localiser(tmp_path / "own.pt")
    torch.testing.assert_close(again.localiser.state_dict(), first[0].state_dict())
    with pytest.raises(FileNotFoundError, match=r"localiser's weights .*none.pt are not there"):
        network.load_localiser(tmp_path / "none.pt")
    torch.save(nn.Conv2d(1, 2, 1).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other.pt must hold weights of the localiser"):
        network.load_localiser(tmp_path / "other.pt")


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"multiple of factor \(4, 4\), got \(18, 16\)"):
        LowResolutionNet(2, nn.Identity(), 4)(torch.zeros(1, 1, 18, 16))
    with pytest.raises(ValueError, match=r"not be smaller than crop_size \[8, 8\], got \(4, 16\)"):
        LocalisedNet(_Finds(), _Copies(), (8, 8))(torch.zeros(1, 1, 4, 16))
    with pytest.raises(ValueError, match="kernel_size odd, got 4 and 2"):
        SpatialConfigurationNet(2, u_net(2), 3, kernel_size=2)
    with pytest.raises(ValueError, match="factor must be at least 1, got 0"):
        LowResolutionNet(2, nn.Identity(), 0)
