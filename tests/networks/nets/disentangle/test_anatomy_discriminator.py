# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_mmseg.networks.nets import AnatomyDiscriminator
from tests.networks.network_tester import NetworkTester, num_parameters

SMALL = {"features": (2, 3, 4)}


class TestAnatomyDiscriminator(NetworkTester):
    scripts = False  # never deployed
    may_have_zero_gradient = ("convs.2.bias", "convs.5.bias")  # in front of batch normalisation
    patch = False

    def make(self, spatial_dims):
        return AnatomyDiscriminator(
            spatial_dims, 4, 3, spatial_size=(16, 24, 16)[:spatial_dims], patch=self.patch, **SMALL
        )

    def inputs(self, spatial_dims):
        return (torch.rand(2, 4, *(16, 24, 16)[:spatial_dims]),)

    def test_shape(self, spatial_dims):
        assert self.make(spatial_dims)(*self.inputs(spatial_dims)).shape == (2, 3)


class TestAnatomyDiscriminatorOfPatches(TestAnatomyDiscriminator):
    patch = True
    dims = (2,)


@pytest.mark.parametrize(("patch", "count"), [(False, 797_041), (True, 305_585)])
def test_counts_of_the_original(patch, count):
    with torch.device("meta"):
        network = AnatomyDiscriminator(2, 4, patch=patch)
    assert num_parameters(network) == count


def test_messages():
    with pytest.raises(ValueError, match=r"spatial_size must have 2 numbers, got \(32,\)"):
        AnatomyDiscriminator(2, 4, spatial_size=(32,))
    with pytest.raises(ValueError, match="spatial_size must be divisible by 32"):
        AnatomyDiscriminator(2, 4, spatial_size=(48, 64))
    with pytest.raises(ValueError, match="must leave more than one pixel"):
        AnatomyDiscriminator(2, 4, spatial_size=(32, 32))
    with pytest.raises(ValueError, match=r"anatomy must have the spatial size \[16, 16\]"):
        AnatomyDiscriminator(2, 4, spatial_size=(16, 16), **SMALL)(torch.zeros(1, 4, 16, 24))
