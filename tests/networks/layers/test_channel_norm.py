# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_mmseg.networks.layers.channel_norm import channel_norm

# kind, epsilon, axes of the mean in the view (batch, groups, channels of a group, space)
KINDS = [("batch", 1e-3, 32, (0, 2, 3)), ("instance", 1e-6, 32, (2, 3)), ("layer", 1e-6, 1, (2, 3))]
KINDS += [("group", 1e-6, 16, (2, 3))]


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(("norm", "eps", "groups", "axes"), KINDS)
def test_statistics_and_weights(norm, eps, groups, axes, spatial_dims):
    torch.manual_seed(0)
    layer = channel_norm(spatial_dims, 32, norm)
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    assert sum(p.numel() for p in layer.parameters()) == 64
    image = 0.05 * torch.randn(3, 32, *[4] * spatial_dims) + 0.5
    view = image.flatten(2).unflatten(1, (groups, -1)).double()
    mean, variance = view.mean(axes, keepdim=True), view.var(axes, keepdim=True, correction=0)
    scale, shift = (value.double().view(32, *[1] * spatial_dims) for value in (layer.weight, layer.bias))
    expected = ((view - mean) / (variance + eps).sqrt()).view(image.shape) * scale + shift
    torch.testing.assert_close(layer(image).double(), expected, atol=1e-5, rtol=1e-4)


def test_batch_normalisation_has_the_momentum_of_the_original():
    assert channel_norm(2, 4).momentum == 0.1
    assert channel_norm(2, 4, ["BATCH", {"momentum": 0.2}]).momentum == 0.2


@pytest.mark.parametrize(("channels", "groups"), [(2560, 16), (16, 16), (24, 8), (4, 4), (5, 1)])
def test_groups_divide_the_channels(channels, groups):
    assert channel_norm(2, channels, "group").num_groups == groups


@pytest.mark.parametrize("norm", [None, ""])
def test_none(norm):
    assert isinstance(channel_norm(2, 4, norm), nn.Identity)


def test_settings_are_overridden_and_not_written_to():
    settings = {"num_groups": 2, "affine": False}
    layer = channel_norm(3, 8, ("group", settings))
    assert layer.num_groups == 2
    assert layer.weight is None
    assert settings == {"num_groups": 2, "affine": False}


def test_constant_image_stays_finite_in_half_precision():
    image = torch.ones(2, 8, 4, 4, dtype=torch.float16, requires_grad=True)
    channel_norm(2, 8, "layer").half()(image).sum().backward()
    assert image.grad.isfinite().all()
