# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_mmseg.networks.nets import AnatomyUNet
from monai_mmseg.networks.nets.dafnet.anatomy_unet import ContractingPath, ExpandingPath
from tests.networks.network_tester import NetworkTester
from tests.reference_loading import fill, image_of, layers_of, read_vectors, weighted_layers


class TestAnatomyUNet(NetworkTester):
    may_have_zero_gradient = ("conv.bias",)

    def make(self, spatial_dims):
        return AnatomyUNet(spatial_dims, 1, 3, features=(4, 6, 8))

    def inputs(self, spatial_dims):
        return (torch.rand(2, 1, *[8] * spatial_dims),)


@pytest.mark.parametrize("modality", [1, 2])
def test_original_output(modality):
    vectors = read_vectors("dafnet_anatomy_encoders")
    network = AnatomyUNet(2, 1, 8, features=(4, 8, 16, 32, 64)).eval()
    fill(weighted_layers(network), layers_of(vectors, f"enc{modality}"))
    probs = network(image_of(vectors[f"x{modality}"])).softmax(1)
    torch.testing.assert_close(probs, image_of(vectors[f"softmax{modality}"]), atol=1e-4, rtol=0)


def test_parameter_count():
    with torch.device("meta"):  # shapes without values
        network = AnatomyUNet(2, 1, 5)
    assert sum(p.numel() for p in network.parameters()) == 34_526_149


def test_normalisation_follows_keras():
    norms = [m for m in AnatomyUNet(2, 1, 2, features=(2, 4)).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 7
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_initial_weights():
    path = ContractingPath(2, 16, features=(64,))
    weight = path.levels[0].first.conv.conv.weight
    expected = (2 / (16 * 9)) ** 0.5
    assert weight.std().item() == pytest.approx(expected, rel=0.03)
    assert weight.abs().max().item() <= 2 * expected / 0.8796
    assert not path.levels[0].first.conv.conv.bias.any()


def test_norms_per_modality_are_apart():
    down, up = ContractingPath(2, 1, features=(2, 4)), ExpandingPath(2, (2, 4, 8), 3, num_norms=2)
    up(down(torch.rand(2, 1, 8, 8)), 1)
    moved = {name for name, value in up.named_buffers() if name.endswith("running_mean") and value.any()}
    assert moved
    assert all(".norms.1." in name for name in moved)


def test_wrong_size_is_refused():
    with pytest.raises(ValueError, match=r"size of image must be divisible by 4 along every axis, got \(8, 10\)"):
        AnatomyUNet(2, 1, 2, features=(2, 4, 8))(torch.zeros(1, 1, 8, 10))


def test_single_level_is_refused():
    with pytest.raises(ValueError, match=r"features must list two levels or more, got \(4,\)"):
        ExpandingPath(2, (4,), 2)
