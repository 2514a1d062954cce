# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import torch

from monai_mmseg.networks.nets import FiLMDecoder
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.reference_loading import image_of, listed_layers_of, load_film_decoder


class TestFiLMDecoder(NetworkTester):
    def make(self, spatial_dims):
        return FiLMDecoder(3, 5, out_channels=2, features=4, spatial_dims=spatial_dims)

    def inputs(self, spatial_dims):
        return torch.rand(2, 3, *(6, 7, 8)[:spatial_dims]), torch.randn(2, 5)

    def test_image_has_the_size_of_the_anatomy(self, spatial_dims):
        anatomy, style = self.inputs(spatial_dims)
        image = self.make(spatial_dims)(anatomy, 100 * style)
        assert image.shape == (2, 2, *anatomy.shape[2:])
        assert image.abs().max() <= 1


def test_equals_reference(reference):
    vectors = np.load(reference / "dafnet_film_decoder.npz")
    decoder = FiLMDecoder(8, 8)
    load_film_decoder(decoder, listed_layers_of(vectors, "film"))
    out = decoder(image_of(vectors["s"]), torch.as_tensor(vectors["z"]))
    torch.testing.assert_close(out, image_of(vectors["film_out"]), rtol=0, atol=1e-4)


def test_parameter_count():
    assert num_parameters(FiLMDecoder(8, 8)) == 5841


def test_initial_weights():
    decoder = FiLMDecoder(8, 8)
    assert all(not p.any() for name, p in decoder.named_parameters() if name.endswith("bias"))
    bound = (6 / (9 * 16)) ** 0.5  # Glorot, 8 channels to 8, 3 x 3
    assert 0.9 * bound < decoder.blocks[0].conv_in.weight.abs().max() <= bound


def test_channels_last_gives_the_same():
    decoder, anatomy, style = FiLMDecoder(8, 8), torch.rand(2, 8, 16, 16), torch.randn(2, 8)
    expected = decoder(anatomy, style)
    other = decoder.to(memory_format=torch.channels_last)
    torch.testing.assert_close(other(anatomy.to(memory_format=torch.channels_last), style), expected)


def test_further_styles_render_the_first_anatomies_again():
    decoder = FiLMDecoder(3, 5, features=4).double()
    anatomy, style = torch.rand(3, 3, 32, 32).double(), torch.randn(5, 5).double()
    expected = torch.cat([decoder(anatomy, style[:3]), decoder(anatomy[:2], style[3:])])
    torch.testing.assert_close(decoder(anatomy, style), expected)
