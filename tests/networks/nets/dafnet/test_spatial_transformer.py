# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.networks.layers import fuse_anatomies
from monai_mmseg.networks.nets import SpatialTransformer
from tests.networks.network_tester import NetworkTester, num_parameters, perturb
from tests.reference_loading import fill, image_of, listed_layers_of, weighted_layers


class TestSpatialTransformer(NetworkTester):
    max_offset: float | None = None

    def make(self, spatial_dims):
        return SpatialTransformer(
            3, (34, 32, 32)[:spatial_dims], [3] * spatial_dims, self.max_offset, features=(4, 4, 4), hidden=6
        )

    def inputs(self, spatial_dims):
        return tuple(torch.rand(2, 2, 3, *(34, 32, 32)[:spatial_dims]).unbind(0))

    def test_starts_at_the_identity(self, spatial_dims):
        moving, fixed = self.inputs(spatial_dims)
        deformed, offsets = self.make(spatial_dims)(moving, fixed)
        assert not offsets.any()
        assert offsets.shape == (2, 3**spatial_dims, spatial_dims)
        torch.testing.assert_close(deformed, moving, rtol=0, atol=1e-4)


class TestSpatialTransformerWithLimit(TestSpatialTransformer):
    max_offset = 0.2
    dims = (2,)


@pytest.fixture
def case(reference):
    vectors = np.load(reference / "dafnet_stn_fuser.npz")
    transformer = SpatialTransformer(8, (48, 48))
    moving, fixed = (image_of(vectors[f"anatomy{i}"]) for i in (1, 2))
    return vectors, transformer, moving, fixed


def load(transformer, vectors):
    fill(weighted_layers(transformer), listed_layers_of(vectors, "loc"))


def test_equals_reference(case):
    vectors, transformer, moving, fixed = case
    load(transformer, vectors)
    deformed, offsets = transformer(moving, fixed)
    torch.testing.assert_close(offsets, torch.as_tensor(vectors["offsets"]), rtol=0, atol=1e-4)
    torch.testing.assert_close(deformed, image_of(vectors["deformed"]), rtol=0, atol=5e-4)
    fused = fuse_anatomies(torch.stack([deformed, fixed], dim=1))
    torch.testing.assert_close(fused, image_of(vectors["fused"]), rtol=0, atol=5e-4)


def test_offsets_at_the_start_equal_reference(case):
    vectors, transformer, moving, fixed = case
    assert torch.equal(transformer.offsets(moving, fixed), torch.as_tensor(vectors["offsets_at_init"]))


def test_limit_bounds_the_offsets(case):
    vectors, free, moving, fixed = case
    limited = SpatialTransformer(8, (48, 48), max_offset=0.01)
    for transformer in (free, limited):
        load(transformer, vectors)
    offsets = free.offsets(moving, fixed)
    assert offsets.abs().max() > 0.01
    torch.testing.assert_close(limited.offsets(moving, fixed), 0.01 * torch.tanh(offsets / 0.01))


def test_parameter_count():
    transformer = SpatialTransformer(8, (192, 192))
    assert num_parameters(transformer) == 3_395_210
    assert sum(value.numel() for value in transformer.state_dict().values()) == 3_395_210


def test_direction_of_the_deformation():
    """With one and the same localisation network only the moving anatomy is seen at the output."""
    transformer = perturb(SpatialTransformer(2, (32, 32), features=(2, 2, 2)))
    moving, fixed = torch.rand(2, 1, 2, 32, 32)
    deformed, offsets = transformer(moving, fixed)
    assert torch.equal(deformed, transformer.spline(moving, offsets))
    assert not torch.equal(offsets, transformer.offsets(fixed, moving))


def test_learns_a_shift():
    transformer = SpatialTransformer(1, (32, 32), (3, 3), features=(4, 4, 4), hidden=8)
    rows = torch.linspace(-1, 1, 32)
    blob = torch.exp(-8 * (rows[:, None] ** 2 + rows[None] ** 2))[None, None]
    target = torch.roll(blob, (3, -2), (2, 3))
    optimizer = torch.optim.Adam(transformer.parameters(), lr=3e-3)
    first = (blob - target).square().mean().item()
    for _ in range(40):
        optimizer.zero_grad()
        loss = (transformer(blob, target).deformed - target).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first


def test_gradient_reaches_both_anatomies():
    transformer = perturb(SpatialTransformer(2, (32, 32), features=(2, 2, 2)))
    moving, fixed = (torch.rand(1, 2, 32, 32, requires_grad=True) for _ in range(2))
    transformer(moving, fixed).deformed.square().sum().backward()
    assert moving.grad.any()
    assert fixed.grad.any()


def test_channels_last_gives_the_same():
    transformer = perturb(SpatialTransformer(2, (32, 32)))
    moving, fixed = torch.rand(2, 2, 2, 32, 32)
    expected = transformer(moving, fixed)
    transformer = transformer.to(memory_format=torch.channels_last)
    actual = transformer(*(t.contiguous(memory_format=torch.channels_last) for t in (moving, fixed)))
    torch.testing.assert_close(actual.deformed, expected.deformed, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((8, (31, 64)), {}, r"spatial_size must be two or three numbers of at least 32, .* got \(31, 64\)\."),
        ((8, (64,)), {}, r"spatial_size must be two or three numbers of at least 32, .* got \(64,\)\."),
        ((8, (64, 64)), {"max_offset": 0}, r"max_offset must be positive, or None for no limit, got 0\."),
        ((8, (64, 64)), {"features": (20, 20)}, r"features must list the channels of three .* got \(20, 20\)\."),
        ((8, (64, 64, 64)), {}, r"num_points must be 3 numbers of at least 2, .* got \(5, 5\)\."),
    ],
)
def test_wrong_settings(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        SpatialTransformer(*arguments, **settings)


def test_wrong_size_of_an_anatomy():
    transformer = SpatialTransformer(1, (32, 32), features=(1, 1, 1))
    right, wrong = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 33, 32)
    with pytest.raises(ValueError, match=r"moving must have the spatial size \[32, 32\] .*, got \[33, 32\]\."):
        transformer(wrong, right)
    with pytest.raises(ValueError, match=r"fixed must have the spatial size \[32, 32\] .*, got \[33, 32\]\."):
        transformer(right, wrong)
