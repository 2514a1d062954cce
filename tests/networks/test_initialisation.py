# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest, norm, truncnorm
from torch import nn

from monai_mmseg.networks import glorot_uniform, he_normal, narrow_normal
from monai_mmseg.networks.initialisation import NotDrawn, balance_channels_


def test_he_normal_is_a_truncated_normal_of_the_right_variance():
    layer = nn.Conv2d(32, 128, 3)
    he_normal(layer)
    weight = layer.weight.detach().flatten().numpy()
    std = (2 / (32 * 9)) ** 0.5
    assert weight.std() == pytest.approx(std, rel=0.02)
    # scipy's unit normal, cut at two standard deviations and stretched to unit variance
    assert kstest(weight / std * truncnorm(-2, 2).std(), truncnorm(-2, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("initialise", [he_normal, glorot_uniform, narrow_normal])
def test_biases_are_zero_and_other_layers_are_left_alone(initialise):
    layers = nn.Sequential(
        nn.Conv3d(2, 3, 3), nn.BatchNorm3d(3), nn.ReLU(), nn.Linear(4, 2), nn.Linear(4, 2, bias=False)
    )
    nn.init.constant_(layers[1].bias, 0.5)
    layers.apply(initialise)
    assert not layers[0].bias.any()
    assert not layers[3].bias.any()
    assert layers[0].weight.any()
    assert (layers[1].weight == 1).all()
    assert (layers[1].bias == 0.5).all()


def test_glorot_uniform_fills_its_range():
    layer = nn.Conv2d(8, 16, 3)
    glorot_uniform(layer)
    bound = (6 / ((8 + 16) * 9)) ** 0.5
    assert 0.95 * bound < layer.weight.abs().max() <= bound


def test_narrow_normal_cuts_all_but_transposed_convolutions():
    conv, deconv = nn.Conv2d(64, 128, 3), nn.ConvTranspose3d(32, 64, 3)
    narrow_normal(conv)
    narrow_normal(deconv)
    weight = conv.weight.detach().flatten().numpy()
    assert kstest(weight / 0.01, truncnorm(-2, 2).cdf).pvalue > 1e-3
    assert kstest(deconv.weight.detach().flatten().numpy() / 0.01, norm.cdf).pvalue > 1e-3
    assert not conv.bias.any()
    assert not deconv.bias.any()


def test_balanced_channels_do_not_see_what_all_inputs_have_in_common():
    layer = nn.Conv2d(8, 6, 3, bias=False)
    before = layer.weight.detach().clone()
    balance_channels_(layer.weight, 4.0)
    assert layer(torch.ones(1, 8, 5, 5)).abs().max() < 1e-4
    # differences between inputs are what they were, four times
    assert torch.allclose(layer.weight[:, 1] - layer.weight[:, 0], 4 * (before[:, 1] - before[:, 0]), atol=1e-5)
    with pytest.raises(ValueError, match="gain must be positive"):
        balance_channels_(layer.weight, 0.0)


class Mixed(nn.Module):
    """Parameters drawn in several ways, and buffers that no file of weights has."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 3), nn.Conv2d(3, 4, 1))
        self.layers[0].apply(he_normal)
        self.layers[3].apply(narrow_normal)
        nn.init.orthogonal_(self.layers[2].weight)
        self.register_buffer("drawn", torch.empty(5).normal_(), persistent=False)
        self.scale = nn.Parameter(torch.ones(3))


def test_parameters_that_are_loaded_need_not_be_drawn():
    torch.manual_seed(0)
    source = Mixed()
    torch.manual_seed(0)
    with NotDrawn():
        network = Mixed()
        assert not torch.equal(torch.empty(9).uniform_(1, 2), torch.zeros(9))  # other tensors are drawn
    assert torch.isfinite(network.drawn).all()
    assert network.drawn.std() > 0
    assert (network.scale == 1).all()
    assert (network.layers[1].weight == 1).all()  # what is not random is set
    network.load_state_dict(source.state_dict())
    for name, value in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    torch.manual_seed(1)
    first = nn.Linear(2, 2).weight
    torch.manual_seed(1)
    assert torch.equal(nn.Linear(2, 2).weight, first)  # afterwards all is as before
