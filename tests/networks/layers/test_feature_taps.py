# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from monai_mmseg.networks.layers import FeatureTaps, convert_modality_norm
from monai_mmseg.networks.nets import DilatedResidualNet, share_network

MODALITIES = ["ct", "mr", "us"]


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def test_features_and_their_gradient():
    net, image = plain().eval(), torch.rand(2, 1, 8, 8)
    with FeatureTaps(net, ["0", "2"]) as taps:
        net(image)
    torch.testing.assert_close(taps["0"], net[0](image))
    taps["2"].sum().backward()
    assert net[0].weight.grad.abs().sum() > 0
    assert net[3].weight.grad is None
    assert all(not m._forward_hooks for m in net.modules())


def test_hooks_leave_after_an_error_and_features_stay():
    net = plain()
    taps = FeatureTaps(net, ["0"])
    with pytest.raises(RuntimeError, match="channels"), taps:
        net[0](torch.rand(1, 1, 4, 4)) + net(torch.rand(1, 3, 4, 4))
    assert taps["0"].shape == (1, 4, 4, 4)
    assert all(not m._forward_hooks for m in net.modules())
    copy.deepcopy(net)


def test_recorded_anew():
    net = plain().eval()
    taps = FeatureTaps(net, ["0"])
    for size in (4, 6):
        with taps:
            net(torch.rand(1, 1, size, size))
        assert taps["0"].shape[-1] == size
    with taps, pytest.raises(RuntimeError, match="recording already"), taps:
        pass


@pytest.mark.parametrize("mixed", ["apart", "together"])
@pytest.mark.parametrize("modality", [[0, 0, 1, 1], [1, 0, 2, 0], [2, 2, 2, 2], [1, 1, 0, 0]])
def test_rows_of_a_mixed_batch(mixed, modality):
    net = convert_modality_norm(plain(), MODALITIES, mixed=mixed).eval()
    for k, name in enumerate(MODALITIES):
        net.network[1].norms[name].weight.data.fill_(k + 1.0)
    image, modality = torch.rand(4, 1, 8, 8), torch.tensor(modality)
    with FeatureTaps(net, ["1"]) as taps:  # the wrapper's "network." is left out
        net(image, modality)
    found = taps.rows("1", modality, MODALITIES)
    for row in range(4):
        with FeatureTaps(net, ["network.1"]) as one:
            net(image[row : row + 1], int(modality[row]))
        torch.testing.assert_close(found[row : row + 1], one["network.1"])


def test_streams():
    net = share_network(DilatedResidualNet(2, 1, 3, features=(2, 2, 4, 4, 4, 4, 4, 4)), ["ct", "mr"], []).eval()
    modality = torch.tensor([1, 0, 1])
    with FeatureTaps(net, [n for n, _ in net.named_modules() if n.endswith("group_4")]) as taps:
        net(torch.rand(3, 1, 32, 32), modality)
    assert taps.rows(taps.names[0], modality, ["ct", "mr"]).shape[:2] == (3, 4)


def test_unknown_names():
    net = UNet(2, 1, 2, channels=(4, 8), strides=(2,))
    with pytest.raises(ValueError, match=r"no module 'model.7': did you mean .*'model"):
        FeatureTaps(net, ["model.7"])
    with pytest.raises(ValueError, match="there are"):
        FeatureTaps(net, ["encoder_of_images"])
    with pytest.raises(ValueError, match="different modules"):
        FeatureTaps(net, ["model", "model"])
    with pytest.raises(ValueError, match="different modules"):
        FeatureTaps(net, "model")
    with pytest.raises(ValueError, match="no module ''"):
        FeatureTaps(net, [""])
    with pytest.raises(KeyError, match="not tapped"):
        FeatureTaps(net, ["model"])["else"]


def test_a_module_that_runs_twice():
    layer = nn.Conv2d(1, 1, 1)
    net = nn.Sequential(layer, layer)
    with FeatureTaps(net, ["0"]) as taps:
        net(torch.rand(2, 1, 4, 4))
    with pytest.raises(RuntimeError, match="ran 2 times"):
        taps["0"]
    with pytest.raises(RuntimeError, match="must run once for all 2 rows"):
        taps.rows("0", torch.tensor([0, 1]), ["ct", "mr"])


def test_a_module_with_several_outputs():
    net = nn.Sequential(nn.LSTM(2, 2))
    with FeatureTaps(net, ["0"]), pytest.raises(TypeError, match="not one tensor"):
        net(torch.rand(1, 1, 2))


@pytest.mark.slow
def test_compiled_beside_the_taps():
    net, image = plain().eval(), torch.rand(2, 1, 8, 8)
    expected = net(image)
    net[3].compile(backend="aot_eager")
    with FeatureTaps(net, ["2"]) as taps:
        torch.testing.assert_close(net(image), expected)
    assert taps["2"].shape == (2, 4, 8, 8)


def test_features_that_a_later_layer_overwrites_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1))
    with FeatureTaps(net, ["0", "1"]) as taps:
        net(torch.randn(2, 1, 8, 8))
    assert taps["1"].min() >= 0
    message = r"what module '0' put out was overwritten by a layer behind it that works in place: tap that layer"
    with pytest.raises(RuntimeError, match=message):
        taps["0"]
    with pytest.raises(RuntimeError, match=message):
        taps.rows("0", torch.zeros(2, dtype=torch.long), ["ct"])
    with torch.inference_mode(), FeatureTaps(net, ["1"]) as taps:
        net(torch.randn(2, 1, 8, 8))
    assert taps["1"].shape == (2, 4, 6, 6)
