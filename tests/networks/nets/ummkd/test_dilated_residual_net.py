# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from monai_mmseg.networks.nets import DilatedResidualNet
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.networks.ummkd_weights import case_of, image_in, layers_in, load_modality, transpose_cells
from tests.reference_loading import image_of, read_vectors

SMALL = {"features": (4, 4, 8, 9), "num_blocks": (1, 1, 2, 1), "dilations": (1, 1, 1, 2)}
REFERENCE = {"features": (4, 8, 16, 32, 64, 64, 128, 128), "dropout": 0.0}


class TestDilatedResidualNet(NetworkTester):
    def make(self, spatial_dims):
        return DilatedResidualNet(spatial_dims, 2, 2, **SMALL)

    def inputs(self, spatial_dims):
        # 32 long: oneDNN's bfloat16 gradient of a 3D kernel reads memory that nobody wrote where 3 samples meet 2.
        return (torch.rand(2, 2, 32, *[16] * (spatial_dims - 1)),)


@pytest.mark.parametrize("modality", ["s", "t"])
@pytest.mark.parametrize("name", ["net2d_b2", "net2d_b1"])
def test_original_output(name, modality):
    case, index = case_of(name), "st".index(modality)
    transposed = name == "net2d_b2"  # the original shuffles a cell in another order when there is one image alone
    network = load_modality(DilatedResidualNet(2, 3, 5, **REFERENCE), case, index, transposed_cell=transposed)
    image = image_in(case, f"x_{modality}")
    with torch.no_grad():
        expected = image_in(case, f"eval_{modality}")
        torch.testing.assert_close(network.eval()(image), expected, atol=1e-5 * expected.abs().max().item(), rtol=0)
        torch.testing.assert_close(network.train()(image), image_in(case, f"train_{modality}"), atol=1e-4, rtol=1e-4)
    first = layers_in(network)[1][0]
    stored = f"after1_{('source', 'target')[index]}_bn_1_1_1_moving"
    torch.testing.assert_close(first.running_mean, torch.as_tensor(case[f"{stored}_mean"]), atol=1e-6, rtol=0)
    torch.testing.assert_close(first.running_var, torch.as_tensor(case[f"{stored}_variance"]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_original_sub_pixel_cell(batch):
    vectors = read_vectors("ummkd_nets")
    image, expected = image_of(vectors[f"ps_in_b{batch}"]), image_of(vectors[f"ps_out_b{batch}"])
    if batch > 1:
        image = transpose_cells(image.transpose(0, 1), side=2).transpose(0, 1)
    assert torch.equal(F.pixel_shuffle(image, 2), expected)


def test_last_shuffle_is_that_of_torch():
    shuffle = DilatedResidualNet(2, 1, 2, **SMALL).group_6.shuffle
    image = torch.rand(2, 128, 3, 2)
    assert torch.equal(shuffle(image), F.pixel_shuffle(image, 8))


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group"])
def test_parameter_count(norm):
    with torch.device("meta"):  # shapes without values
        network = DilatedResidualNet(2, 3, 5, norm=norm)
    assert num_parameters(network) == 39_322_648
    assert sum(p.numel() for p in network.parameters() if p.ndim == 1) == 20_192


def test_table_of_groups():
    kernels = (
        5_040,
        13_824,
        129_024,
        516_096,
        2_064_384,
        2_359_296,
        8_257_536,
        9_437_184,
        4_718_592,
        11_796_480,
        5_000,
    )
    norms = (32, 48, 224, 448, 896, 1024, 1792, 2048, 1024, 2560, 0)  # channels of each group's layers, added up
    with torch.device("meta"):
        network = DilatedResidualNet(2, 3, 5)
    assert network.stages == (*(f"group_{number}" for number in range(1, 11)), "output")
    for name, kernel, norm in zip(network.stages, kernels, norms, strict=True):
        stage = getattr(network, name)
        assert sum(p.numel() for p in stage.parameters() if p.ndim > 1) == kernel
        assert sum(p.numel() for p in stage.parameters() if p.ndim == 1) == 2 * norm
    dilated = {name for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.dilation == (2, 2)}
    assert len(dilated) == 4
    assert all(name.startswith("group_8.") for name in dilated)
    drops = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
    assert drops == [0.25] * 30  # every convolution but the first, that of group 10 and the last


def test_zero_channels_are_added_on_both_sides():
    network = DilatedResidualNet(2, 1, 2, **SMALL).eval()
    block = network.group_3.block_1
    nn.init.zeros_(block.second.conv.weight)
    image = torch.rand(1, 4, 8, 8)
    expected = torch.cat([torch.zeros(1, 2, 8, 8), image, torch.zeros(1, 2, 8, 8)], dim=1)
    assert torch.equal(block(image), expected)


@pytest.mark.parametrize("size", [(8, 24), (40, 16)])
def test_output_has_the_size_of_the_image(size):
    assert DilatedResidualNet(2, 3, 5, **SMALL).eval()(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group", None])
def test_norms_train(norm):
    torch.manual_seed(0)
    network = DilatedResidualNet(2, 1, 2, **SMALL, norm=norm, dropout=0.0)
    image = torch.rand(2, 1, 32, 32)
    label = (F.avg_pool2d(image, 9, 1, 4) > 0.5).long()[:, 0]
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = F.cross_entropy(network(image), label)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_channels_last():
    network = DilatedResidualNet(2, 3, 5, **SMALL, dropout=0.0).train()
    image = torch.rand(2, 3, 16, 16)
    expected = network(image)
    last = network.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)


def test_original_initial_weights():
    network = DilatedResidualNet(2, 1, 2, **SMALL, initialise="original")
    weights = torch.cat([p.flatten() for p in network.parameters() if p.ndim > 1])
    assert 0.019 < weights.abs().max() <= 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 1}, r"spatial_dims must be 2 or 3, got 1"),
        ({"features": (4, 8)}, r"features must list 3 or more widths that never shrink, got \(4, 8\)"),
        ({"features": (4, 8, 4, 8)}, r"features must list 3 or more widths that never shrink, got \(4, 8, 4, 8\)"),
        (
            {"initialise": "narrow"},
            r"initialise must be one of \['he', 'original'\] or a function .* got 'narrow'",
        ),
        (
            {"num_blocks": (1, 1)},
            r"num_blocks must list one number of 1 or more for each of the 4 features, got \(1, 1\)",
        ),
        ({"dilations": (1, 1, 0, 1)}, r"dilations must list .* 4 features, got \(1, 1, 0, 1\)"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DilatedResidualNet(**{"spatial_dims": 2, "in_channels": 1, "out_channels": 2, **SMALL, **settings})


def test_wrong_size_is_refused():
    with pytest.raises(ValueError, match=r"size of image must be divisible by 8 along every axis, got \(16, 20\)"):
        DilatedResidualNet(2, 1, 2, **SMALL)(torch.zeros(1, 1, 16, 20))
