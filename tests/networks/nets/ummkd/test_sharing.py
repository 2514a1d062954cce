# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import pytest
from monai.networks.nets import BasicUNet, SegResNet
from torch import nn

from monai_mmseg.networks.layers import specialize
from monai_mmseg.networks.nets import AnisotropicUNet, share_network


@pytest.fixture
def plain():
    return AnisotropicUNet(3, 1, 5, features=(4, 8, 16, 32))


def dropouts(network):
    return {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)}


@pytest.mark.parametrize("separate", ["norm", [], ["encoder_1"]])
def test_dropout_of_every_layer(plain, separate):
    """Also of one that was built without: MONAI Label asks any network how sure it is."""
    assert dropouts(share_network(plain, ["ct", "mr"], separate)) == {0.0}
    network = share_network(plain, ["ct", "mr"], separate, dropout=0.2)
    assert dropouts(network) == dropouts(specialize(network, "mr")) == {0.2}
    assert dropouts(plain) == {0.0}


def test_any_network_can_be_joint():
    network = share_network(SegResNet(2, 8, 1, 3), ["ct", "mr"], [])
    assert network.modalities == ("ct", "mr")
    assert type(specialize(network, "ct")) is SegResNet


def test_errors_name_what_is_wrong(plain):
    with pytest.raises(ValueError, match="separate must be 'norm' or a list of stages, got 'encoder_1'"):
        share_network(plain, ["ct", "mr"], "encoder_1")
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\) .* got 1.5"):
        share_network(plain, ["ct", "mr"], dropout=1.5)
    none = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with pytest.raises(ValueError, match="needs dropout layers, got 0.2 for .* with 0 of them"):
        share_network(none, ["ct", "mr"], dropout=0.2)
    with pytest.raises(ValueError, match="must have an attribute stages that lists children"):
        share_network(BasicUNet(2, 1, 3), ["ct", "mr"], ["encoder_1"])
