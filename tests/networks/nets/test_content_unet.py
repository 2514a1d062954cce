# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.networks.nets import MUNIT, ContentUNet, SelectStream
from tests.networks.network_tester import num_parameters

SIZES = {"content_features": 4, "num_downsamples": 2, "num_blocks": 1}


@pytest.fixture
def munit():
    torch.manual_seed(0)
    return MUNIT(2, 1, ["cine", "lge"], features=4, num_blocks=1, style_downsamples=2).eval()


@pytest.fixture
def net():
    return ContentUNet(2, 1, 3, modalities=["lge", "cine"], features=(4, 8), **SIZES).eval()


def test_parameter_counts():
    """The U-Net of section 1 of the fact sheet with 256 channels in the place of one; encoders of section 4."""
    with torch.device("meta"):
        net = ContentUNet(2, 1, 5, modalities=["cine", "lge"])
    assert num_parameters(net.unet) == 34_526_149 + 9 * 64 * (256 - 1)
    assert num_parameters(net.encoders) == 2 * 5_379_584
    assert {one for one in net.parameters() if one.requires_grad} == set(net.unet.parameters())


def test_contents_are_those_of_the_modality(munit, net, tmp_path):
    torch.save(munit.state_dict(), tmp_path / "model.pt")
    net.load_encoder(tmp_path / "model.pt", ["cine", "lge"])
    image = torch.rand(2, 1, 30, 32)
    for stream, name in enumerate(["lge", "cine"]):
        wanted = torch.nn.functional.interpolate(
            munit.generator(name).content(image), scale_factor=4.0, mode="bilinear"
        )
        torch.testing.assert_close(net.content(image, stream), wanted[:, :, :30])
    torch.save(SelectStream(net, 0, 2).state_dict(), tmp_path / "whole.pt")
    other = ContentUNet(2, 1, 3, modalities=["lge", "cine"], features=(4, 8), **SIZES)
    other.load_encoder(tmp_path / "whole.pt")
    torch.testing.assert_close(other.encoders.state_dict(), net.encoders.state_dict())


def test_absent_images_go_through_the_other_encoder(net):
    stack = torch.rand(1, 2, 16, 16)
    stack[:, 0] = torch.nan
    torch.testing.assert_close(SelectStream(net, 0, 2)(stack), net(stack[:, 1:], 1))


def test_gradients_stop_at_the_encoders(net):
    net.train()(torch.rand(2, 1, 16, 16), 1).sum().backward()
    assert all(one.grad is None for one in net.encoders.parameters())
    assert all(one.grad is not None for one in net.unet.parameters())


def test_wrong_weights(munit, net, tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(FileNotFoundError, match=r"model\.pt are not there"):
        net.load_encoder(path)
    torch.save(munit.state_dict(), path)
    with pytest.raises(ValueError, match=r"must hold encoders of \['lge', 'cine'\], got those of \['t1', 't2'\]"):
        net.load_encoder(path, ["t1", "t2"])
    narrow = ContentUNet(2, 1, 3, modalities=["lge", "cine"], features=(4, 8), content_features=2, num_blocks=1)
    with pytest.raises(ValueError, match="encoders of contents as they are configured"):
        narrow.load_encoder(path, ["cine", "lge"])
