# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from monai_mmseg.networks.nets import AnisotropicUNet
from monai_mmseg.networks.nets.ummkd.anisotropic_unet import _Doubling
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.networks.ummkd_weights import case_of, image_in, load_modality

SMALL = {"features": (2, 4, 6, 8)}


class TestAnisotropicUNet(NetworkTester):
    def make(self, spatial_dims):
        return AnisotropicUNet(spatial_dims, 2, 3, **SMALL)

    def inputs(self, spatial_dims):
        # 32 long: oneDNN's bfloat16 gradient of a 3D kernel reads memory that nobody wrote where 3 samples meet 2.
        return (torch.rand(2, 2, 32, *[16] * (spatial_dims - 1)),)


@pytest.mark.parametrize("modality", ["s", "t"])
def test_original_output(modality):
    case = case_of("net3d_b2")
    network = load_modality(AnisotropicUNet(3, 1, 5, features=(8, 16, 32, 64)), case, "st".index(modality))
    image = image_in(case, f"x_{modality}")
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(image), image_in(case, f"eval_{modality}"), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(network.train()(image), image_in(case, f"train_{modality}"), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group"])
def test_parameter_count(norm):
    with torch.device("meta"):  # shapes without values
        network = AnisotropicUNet(3, 1, 5, norm=norm)
    assert num_parameters(network) == 2_201_589
    assert sum(p.numel() for name, p in network.named_parameters() if ".norm." in name) == 2_976


def test_weights_on_concatenated_channels():
    """The paper's table counts the network without them."""
    with torch.device("meta"):
        network = AnisotropicUNet(3, 1, 5)
    skips = [
        getattr(network, stage).first.conv.weight[:, -features:].numel()
        for stage, features in (("decoder_3", 128), ("decoder_2", 64), ("decoder_1", 32))
    ]
    assert sum(skips) == 285_696


def test_table_of_levels():
    kernels = {
        "encoder_1": 432 + 13_824,
        "encoder_2": 27_648 + 55_296,
        "encoder_3": 36_864 + 73_728,
        "encoder_4": 147_456 + 294_912,
        "decoder_3": 294_912 + 294_912 + 147_456,
        "decoder_2": 147_456 + 331_776 + 110_592,
        "decoder_1": 110_592 + 82_944 + 27_648,
        "output": 160,
    }
    norms = (48, 96, 192, 384, 384, 256, 128, 0)  # channels of each level's layers, added up
    with torch.device("meta"):
        network = AnisotropicUNet(3, 1, 5)
    assert network.stages == tuple(kernels)
    for (name, kernel), norm in zip(kernels.items(), norms, strict=True):
        stage = getattr(network, name)
        assert sum(p.numel() for p in stage.parameters() if p.ndim > 1) == kernel
        assert sum(p.numel() for p in stage.parameters() if p.ndim == 1) == (2 * norm or 5)  # or the bias


def test_every_second_slice_of_a_flat_deconvolution_is_empty():
    network = AnisotropicUNet(3, 1, 2, **SMALL)
    image = torch.rand(1, 8, 3, 4, 5)
    doubled = network.decoder_3.up.conv(image)
    assert doubled.shape == (1, 6, 6, 8, 10)
    assert not doubled[..., 1::2].any()
    assert doubled[..., ::2].any(dim=1).all()
    assert network.decoder_1.up.conv(torch.rand(1, 4, 3, 4, 5))[..., 1::2].any()


@pytest.mark.parametrize("kernel_size", [(3, 3, 3), (3, 3, 1), (5, 1, 3)])
def test_doubling_is_a_transposed_convolution_cut_at_the_end(kernel_size):
    double = _Doubling(3, 4, 6, kernel_size)
    image = torch.randn(2, 4, 5, 3, 4).contiguous(memory_format=torch.channels_last_3d)
    missing = [max(0, 2 - size) for size in kernel_size]
    whole = F.conv_transpose3d(image, double.deconv.weight, stride=2, output_padding=missing)
    found = double(image)
    torch.testing.assert_close(found, whole[:, :, :10, :6, :8])
    assert found.is_contiguous(memory_format=torch.channels_last_3d)  # no gap in memory


@pytest.mark.parametrize("size", [(8, 16, 8), (24, 8, 16)])
def test_output_has_the_size_of_the_image(size):
    assert AnisotropicUNet(3, 1, 5, **SMALL).eval()(torch.zeros(1, 1, *size)).shape == (1, 5, *size)


def test_kernels_by_level():
    network = AnisotropicUNet(3, 1, 2, **SMALL, kernel_size=(1, (3, 3, 1), 3, (5, 3, 1)))
    sizes = {name: m.kernel_size for name, m in network.named_modules() if isinstance(m, nn.Conv3d)}
    assert sizes["encoder_1.first.conv"] == (1, 1, 1)
    assert sizes["decoder_2.second.conv"] == (3, 3, 1)
    assert network.decoder_3.up.conv.deconv.kernel_size == (5, 3, 1)
    assert network.eval()(torch.zeros(1, 1, 16, 16, 8)).shape == (1, 2, 16, 16, 8)


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group", None])
def test_norms_train(norm):
    torch.manual_seed(0)
    network = AnisotropicUNet(3, 1, 2, features=(4, 8, 8, 16), norm=norm, dropout=0.1)
    image = torch.rand(2, 1, 16, 16, 16)
    label = (F.avg_pool3d(image, 5, 1, 2) > 0.5).long()[:, 0]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = F.cross_entropy(network(image), label)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_channels_last():
    network, image = AnisotropicUNet(3, 1, 3, **SMALL).train(), torch.rand(2, 1, 16, 16, 8)
    expected = network(image)
    last = network.to(memory_format=torch.channels_last_3d)(image.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 1}, r"spatial_dims must be 2 or 3, got 1"),
        ({"features": (4, 8)}, r"features must list 4 even widths, got \(4, 8\)"),
        ({"features": (4, 8, 9, 8)}, r"features must list 4 even widths, got \(4, 8, 9, 8\)"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size must list 4 kernels of odd sizes, .* got \(3, 3, 3\)"),
        ({"kernel_size": (3, 3, 3, 2)}, r"kernel_size must list 4 kernels of odd sizes, .* got \(3, 3, 3, 2\)"),
        ({"kernel_size": (3, 3, 3, (3, 3))}, r"a number or 3 numbers each, got \(3, 3, 3, \(3, 3\)\)"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AnisotropicUNet(**{"spatial_dims": 3, "in_channels": 1, "out_channels": 2, **SMALL, **settings})


def test_wrong_size_is_refused():
    with pytest.raises(ValueError, match=r"size of image must be divisible by 8 along every axis, got \(16, 16, 4\)"):
        AnisotropicUNet(3, 1, 2, **SMALL)(torch.zeros(1, 1, 16, 16, 4))
