# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.networks.nets import ModalityEncoder
from monai_mmseg.networks.nets.dafnet.modality_encoder import StyleOutput
from tests.networks.network_tester import NetworkTester
from tests.reference_loading import fill, image_of, listed_layers_of, read_vectors, vector_of, weighted_layers


class TestModalityEncoder(NetworkTester):
    def make(self, spatial_dims):
        return ModalityEncoder(4, 1, [15] * spatial_dims, style_channels=3, features=(4, 6), hidden=5)

    def inputs(self, spatial_dims):
        return torch.rand(2, 4, *[15] * spatial_dims), torch.rand(2, 1, *[15] * spatial_dims)


def test_original_output():
    vectors = read_vectors("dafnet_modality_encoder")
    encoder = ModalityEncoder(8, 1, (64, 64)).eval()
    fill(weighted_layers(encoder), listed_layers_of(vectors, "mod"))
    style = encoder(image_of(vectors["s"]), image_of(vectors["x"]))
    assert isinstance(style, StyleOutput)
    torch.testing.assert_close(style.mu, vector_of(vectors["mod_z_mean"]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(style.logvar, vector_of(vectors["mod_z_log_var"]), atol=1e-4, rtol=1e-4)


def test_parameter_count():
    assert sum(p.numel() for p in ModalityEncoder(8, 1, (192, 192)).parameters()) == 594_480


@pytest.mark.parametrize("spatial_size", [(64, 48), (31, 33)])
def test_sizes_need_not_be_square_or_even(spatial_size):
    style = ModalityEncoder(8, 1, spatial_size)(torch.zeros(1, 8, *spatial_size), torch.zeros(1, 1, *spatial_size))
    assert style.mu.shape == (1, 8)


def test_too_small_a_size_is_refused():
    with pytest.raises(ValueError, match=r"spatial_size must be 31 or more along every axis, got \(64, 30\)"):
        ModalityEncoder(8, 1, (64, 30))


def test_memory_format_does_not_matter():
    encoder = ModalityEncoder(4, 1, (32, 32))
    anatomy, image = torch.rand(2, 4, 32, 32), torch.rand(2, 1, 32, 32)
    expected = encoder(anatomy, image).mu
    encoder = encoder.to(memory_format=torch.channels_last)
    other = encoder(anatomy.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)).mu
    torch.testing.assert_close(other, expected, atol=1e-5, rtol=1e-5)
