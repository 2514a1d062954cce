# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch import nn

from monai_mmseg.networks.nets import AnatomyUNet, SelectModality


def test_takes_the_first_candidate_of_its_modality():
    image = torch.rand(2, 6, 4, 4)  # two modalities, three candidates each
    net = SelectModality(nn.Identity(), modality=1, num_modalities=2)
    assert torch.equal(net(image), image[:, 3:4])
    assert torch.equal(net(image[:, :1]), image[:, :1])


def test_falls_back_to_the_first_modality_that_is_there_for_each_sample():
    image = torch.rand(3, 3, 4, 4)
    image[0, 2, 0, 0] = image[1, 2] = image[1, 0] = image[2] = float("nan")
    out = SelectModality(nn.Identity(), modality=2, num_modalities=3)(image)
    assert torch.equal(out[0], image[0, :1])
    assert torch.equal(out[1], image[1, 1:2])
    assert torch.equal(out[2], torch.zeros(1, 4, 4))


def test_scripts_and_exports():
    net = SelectModality(nn.Conv2d(1, 2, 3), 0, 2).eval()
    image = torch.rand(2, 2, 8, 8)
    torch.testing.assert_close(torch.jit.script(net)(image), net(image))
    torch.testing.assert_close(torch.export.export(net, (image,)).module()(image), net(image))


def test_dropout_is_that_of_the_network():
    """MONAI Label adds the argument to a bundle's network when it asks how sure the network is."""
    unet = AnatomyUNet(features=(4, 8))
    assert [layer.p for layer in unet.modules() if isinstance(layer, nn.Dropout2d)] == [0.0]
    image = torch.rand(1, 2, 8, 8)
    plain = SelectModality(unet, 1, 2)
    assert torch.equal(plain(image), plain(image))
    dropping = SelectModality(unet, 1, 2, dropout=0.5)
    assert dropping.state_dict().keys() == plain.state_dict().keys()
    assert [layer.p for layer in dropping.modules() if isinstance(layer, nn.Dropout2d)] == [0.5]
    assert not torch.equal(dropping(image), dropping(image))
    with pytest.raises(ValueError, match=r"needs dropout layers, got 0.5 for Conv2d with 0 of them"):
        SelectModality(nn.Conv2d(1, 2, 3), 0, 2, dropout=0.5)


def test_error():
    with pytest.raises(ValueError, match=r"modality must be one of 0 .. 1, got 2"):
        SelectModality(nn.Identity(), 2, 2)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_channels_that_are_no_stack_are_refused(channels):
    net = SelectModality(nn.Conv2d(1, 3, 1), 1, 3)
    message = rf"image must have one channel, or as many for each of 3 modalities, got {channels}\."
    with pytest.raises(ValueError, match=message):
        net(torch.rand(1, channels, 8, 8))
