# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.networks.nets import SPADEDecoder
from tests.networks.network_tester import NetworkTester, num_parameters


class TestSPADEDecoder(NetworkTester):
    norm = "instance"

    def make(self, spatial_dims):
        size = (64, 32, 32)[:spatial_dims]
        return SPADEDecoder(3, 5, size, out_channels=2, features=8, norm=self.norm, hidden=4)

    def inputs(self, spatial_dims):
        return torch.rand(2, 3, *(64, 32, 32)[:spatial_dims]), torch.randn(2, 5)

    def test_image_has_the_size_of_the_anatomy(self, spatial_dims):
        anatomy, style = self.inputs(spatial_dims)
        image = self.make(spatial_dims)(anatomy, 100 * style)
        assert image.shape == (2, 2, *anatomy.shape[2:])
        assert image.abs().max() <= 1

    def test_zero_style_has_finite_gradients(self, spatial_dims):
        anatomy, style = self.inputs(spatial_dims)
        network = self.make(spatial_dims)
        network(anatomy, 0 * style).sum().backward()
        assert all(p.grad.isfinite().all() for p in network.parameters())


class TestSPADEDecoderWithJointNorm(TestSPADEDecoder):
    norm = "joint"
    dims = (2,)


def test_parameter_count():
    assert num_parameters(SPADEDecoder(8, 8, (192, 192))) == 4_285_649


def test_style_changes_the_image_and_anatomy_its_layout():
    decoder = SPADEDecoder(3, 4, (32, 32), features=8, hidden=4)
    anatomy, style = torch.rand(1, 3, 32, 32), torch.randn(1, 4)
    assert not torch.allclose(decoder(anatomy, style), decoder(anatomy.flip(-1), style))
    assert not torch.allclose(decoder(anatomy, style), decoder(anatomy, style + 1))


@pytest.mark.parametrize("size", [(192, 114), (16, 32), (32,), (0, 32)])
def test_sizes_that_cannot_be_halved_five_times(size):
    with pytest.raises(ValueError, match=r"spatial_size must be two or three multiples of 32, got \("):
        SPADEDecoder(8, 8, size)


def test_wrong_features_and_norm():
    with pytest.raises(ValueError, match=r"features must be a multiple of 8, got 12\."):
        SPADEDecoder(8, 8, (32, 32), features=12)
    with pytest.raises(ValueError, match=r"norm must be one of \('instance', 'joint'\), got 'layer'\."):
        SPADEDecoder(8, 8, (32, 32), norm="layer")


def test_wrong_size_of_the_anatomy():
    decoder = SPADEDecoder(3, 4, (32, 32), features=8, hidden=4)
    with pytest.raises(ValueError, match=r"anatomy must have the spatial size \[32, 32\] .*, got \[64, 32\]\."):
        decoder(torch.rand(1, 3, 64, 32), torch.randn(1, 4))


def test_further_styles_render_the_first_anatomies_again():
    decoder = SPADEDecoder(3, 5, spatial_size=(32, 32), features=8, hidden=6).double()
    anatomy, style = torch.rand(3, 3, 32, 32).double(), torch.randn(5, 5).double()
    expected = torch.cat([decoder(anatomy, style[:3]), decoder(anatomy[:2], style[3:])])
    torch.testing.assert_close(decoder(anatomy, style), expected)
