# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.networks.blocks import SPADE

from monai_mmseg.networks.layers import SpadeNorm, SpadeResBlock
from monai_mmseg.networks.layers.spade import instance_normalise, joint_normalise
from tests.networks.network_tester import NetworkTester
from tests.reference_loading import fill, image_of, listed_layers_of


def layers_in_order(block):
    """Layers in the order in which the reference lists their weights."""
    for norm, conv in [("norm_in", "conv_in"), ("norm_out", "conv_out"), ("norm_shortcut", "conv_shortcut")]:
        if hasattr(block, norm):
            unit = getattr(block, norm)
            yield from (unit.shared, unit.gamma, unit.beta, getattr(block, conv))


@pytest.mark.parametrize(("case", "channels"), [(0, (6, 6)), (1, (6, 4))])
def test_block_equals_reference(reference, case, channels):
    vectors = np.load(reference / "dafnet_spade_block.npz")
    block = SpadeResBlock(2, *channels, anatomy_channels=8, norm="joint")
    fill(list(layers_in_order(block)), listed_layers_of(vectors, f"block{case}"))
    out = block(image_of(vectors[f"block{case}_in"]), image_of(vectors["anatomy"]))
    torch.testing.assert_close(out, image_of(vectors[f"block{case}_out"]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", [0, 1])
def test_joint_normalisation_equals_reference(reference, case):
    vectors = np.load(reference / "dafnet_spade_block.npz")
    out = joint_normalise(image_of(vectors[f"block{case}_in"]))
    torch.testing.assert_close(out, image_of(vectors[f"block{case}_norm_in"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_instance_normalisation_equals_torch(dims):
    x = 3 + 2 * torch.randn(2, 3, *[5] * dims)
    torch.testing.assert_close(instance_normalise(x), F.instance_norm(x), rtol=1e-5, atol=1e-5)


def test_equals_monai_without_its_second_normalisation():
    ours = SpadeNorm(2, 4, 3, hidden=8)
    theirs = SPADE(label_nc=3, norm_nc=4, kernel_size=3, spatial_dims=2, hidden_channels=8)
    with torch.no_grad():  # a positive hidden map, where ReLU and leaky ReLU are one
        ours.shared.weight.abs_()
        for mine, name in [(ours.shared, "mlp_shared"), (ours.gamma, "mlp_gamma"), (ours.beta, "mlp_beta")]:
            conv = next(m for m in getattr(theirs, name).modules() if isinstance(m, torch.nn.Conv2d))
            conv.weight.copy_(mine.weight)
            conv.bias.copy_(mine.bias)
    theirs.mlp_gamma.adn = theirs.mlp_beta.adn = torch.nn.Identity()
    x, anatomy = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(ours(x, anatomy), theirs(x, anatomy), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("norm", "plain"), [("instance", instance_normalise), ("joint", joint_normalise)])
def test_without_modulation_it_is_plain_normalisation(norm, plain):
    layer = SpadeNorm(2, 4, 3, hidden=8, norm=norm)
    for conv in (layer.gamma, layer.beta):
        torch.nn.init.zeros_(conv.weight)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(layer(x, torch.rand(2, 3, 16, 16)), plain(x))


@pytest.mark.parametrize("normalise", [instance_normalise, joint_normalise])
def test_normalisation_gradient_and_constant_maps(normalise):
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalise, x)
    constant = torch.full((2, 2, 1, 1), 7.0, requires_grad=True)
    normalise(constant).square().sum().backward()
    assert constant.grad.isfinite().all()
    assert normalise(x.bfloat16()).dtype == torch.bfloat16


def test_unknown_norm():
    with pytest.raises(ValueError, match=r"norm must be one of \('instance', 'joint'\), got 'batch'\."):
        SpadeNorm(2, 4, 3, norm="batch")


class TestSpadeNorm(NetworkTester):
    def make(self, spatial_dims):
        return SpadeNorm(spatial_dims, 4, 3, hidden=8)

    def inputs(self, spatial_dims):
        return torch.randn(2, 4, *[4] * spatial_dims), torch.rand(2, 3, *[8] * spatial_dims)

    def test_prints_its_norm(self):
        assert "norm='joint'" in repr(SpadeNorm(2, 4, 3, norm="joint"))


class TestSpadeResBlock(NetworkTester):
    def make(self, spatial_dims):
        return SpadeResBlock(spatial_dims, 4, 2, anatomy_channels=3, hidden=8, norm="joint")

    def inputs(self, spatial_dims):
        return torch.randn(2, 4, *[4] * spatial_dims), torch.rand(2, 3, *[8] * spatial_dims)


class TestSpadeResBlockWithIdentity(TestSpadeResBlock):
    def make(self, spatial_dims):
        return SpadeResBlock(spatial_dims, 4, 4, anatomy_channels=3, hidden=8)
