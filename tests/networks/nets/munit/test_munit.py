# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.networks.nets import MUNIT, MultiScaleDiscriminator, MUNITGenerator
from monai_mmseg.networks.nets.munit.blocks import adaptive_instance_norm
from tests.networks.network_tester import NetworkTester, num_parameters


class TestMUNITGenerator(NetworkTester):
    dims = (2,)
    scripts = False
    may_have_zero_gradient = ("bias",)  # in front of instance normalisation

    def make(self, spatial_dims):
        return MUNITGenerator(spatial_dims, 1, features=2, num_blocks=1, style_downsamples=2)

    def inputs(self, spatial_dims):
        return (torch.rand(2, 1, *[8] * spatial_dims),)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MUNIT(2, 1, ["cine", "lge"], features=4, num_blocks=1, style_downsamples=2).eval()


def test_parameter_counts():
    """Those of the fact sheet, section 4."""
    with torch.device("meta"):
        network, discriminator = MUNIT(2, 1, ["cine", "lge"]), MultiScaleDiscriminator(2, 1)
    generator = network.generator("cine")
    decoder, mlp = num_parameters(generator.decoder), num_parameters(generator.decoder.mlp)
    parts = [num_parameters(generator.content), num_parameters(generator.style), mlp, decoder - mlp]
    assert parts == [5_379_584, 2_758_664, 1_120_768, 5_748_353]
    assert (num_parameters(generator), num_parameters(discriminator)) == (15_007_369, 8_265_027)
    assert num_parameters(network) + 2 * num_parameters(discriminator) == 46_544_792


def test_adaptive_norm_sets_mean_and_deviation():
    features = 5 + 3 * torch.randn(2, 3, 16, 16)
    scale, shift = torch.rand(2, 3) + 0.5, torch.randn(2, 3)
    made = adaptive_instance_norm(features, scale, shift)
    torch.testing.assert_close(made.mean((2, 3)), shift, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made.std((2, 3), correction=0), scale, atol=1e-4, rtol=1e-4)


def test_content_does_not_see_brightness_and_contrast(net):
    image = torch.rand(1, 1, 16, 16)
    content = net.generator("cine").content
    torch.testing.assert_close(content(image), content(0.3 * image - 0.2), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [(33, 18), (16, 19)])
def test_odd_sizes(net, size):
    image = torch.rand(2, 1, *size)
    assert net(image).shape == net.cycle(image, "lge").shape == image.shape


def test_three_dimensions():
    volume = torch.rand(1, 1, 9, 8, 10)
    assert MUNIT(3, 1, ["ct", "mr"], features=2, num_blocks=1, style_downsamples=2)(volume, "mr").shape == volume.shape


def test_no_style_is_style_zero_and_one_row_serves_all(net):
    image = torch.rand(2, 1, 16, 16)
    assert torch.equal(net(image, "cine"), net(image, "cine", style=torch.zeros(2, 8)))
    style = torch.randn(1, 8)
    torch.testing.assert_close(net(image, 0, style), net(image, "cine", style.expand(2, -1)))
    assert not torch.equal(net(image, 0, style), net(image, 0))


def test_content_image_is_drawn_by_the_other_decoder(net):
    """Contents of both modalities go through one decoder; the default modality is the source."""
    image = torch.rand(1, 1, 16, 16)
    decoded = net.generator("cine").decode(net.generator("lge").content(image), torch.zeros(1, 8), (16, 16))
    assert torch.equal(net.draw(image, "lge", net.source), decoded)
    assert torch.equal(net(image), net(image, "cine"))


def test_discriminator_looks_at_every_scale():
    scores = MultiScaleDiscriminator(2, 1, 2, num_layers=3, num_scales=2)(torch.rand(2, 1, 16, 24))
    assert [tuple(one.shape) for one in scores] == [(2, 1, 2, 3), (2, 1, 1, 1)]


@pytest.mark.parametrize(("layers", "scales", "size"), [(3, 2, 15), (4, 3, 61), (2, 1, 4)])
def test_smallest_image_of_the_discriminator(layers, scales, size):
    judge = MultiScaleDiscriminator(2, 1, 1, num_layers=layers, num_scales=scales)
    assert judge(torch.rand(1, 1, size, size))[-1].shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"images must be {size} or more along each axis for {scales} scales, got"):
        judge(torch.rand(1, 1, size, size - 1))


@pytest.mark.parametrize(
    ("modalities", "target", "message"),
    [
        (["t1"], None, "modalities must be two names"),
        (["t1", "t1"], None, "modalities must be two names"),
        (["t1", "t2"], "flair", "unknown modality 'flair'"),
    ],
)
def test_wrong_modalities(modalities, target, message):
    with pytest.raises(ValueError, match=message):
        MUNIT(2, 1, modalities, target=target, features=1)
