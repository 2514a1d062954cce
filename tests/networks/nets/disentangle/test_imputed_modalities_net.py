# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_mmseg.networks.nets import ImputedModalitiesNet

NAN = float("nan")


@pytest.mark.parametrize("size", [(6,), (6, 4), (6, 4, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_zero(size, channels):
    net = ImputedModalitiesNet(nn.Identity(), ("t1", "t2"), in_channels=channels)
    image = torch.rand(2, 2 * channels, *size)
    torch.testing.assert_close(net(image), image)
    present = torch.tensor([[True, True], [False, True]])
    expected = image.clone()
    expected[1, :channels] = 0
    for filling in (5.0, NAN):
        other = image.clone()
        other[1, :channels] = filling
        torch.testing.assert_close(net(other, present), expected)
    torch.testing.assert_close(net(other), expected)
    assert not list(net.state_dict())


@pytest.mark.filterwarnings("ignore")  # tracing warns of every size that it keeps
def test_what_is_missing_is_found_in_a_traced_network():
    net = ImputedModalitiesNet(nn.Conv2d(2, 3, 3, padding=1), ("t1", "t2")).eval()
    traced = torch.jit.trace(net, torch.rand(1, 2, 8, 8))
    image = torch.rand(3, 2, 6, 10)
    image[1, 0], image[2, 1] = NAN, NAN
    torch.testing.assert_close(traced(image), net(image))


def test_average(tmp_path):
    net = ImputedModalitiesNet(nn.Conv2d(2, 1, 1), ("t1", "t2"), fill="average")
    images = torch.rand(3, 2, 4, 5)
    images[1, 0] = NAN
    net.set_average(MetaTensor(image, meta={"name": "a"}) for image in images)
    assert type(net.average) is torch.Tensor  # else the weights could not be read safely
    torch.testing.assert_close(net.average[0], images[[0, 2], 0].mean(0))
    torch.testing.assert_close(net.average[1], images[:, 1].mean(0))
    torch.testing.assert_close(net.inputs(images)[1, 0], net.average[0])
    torch.testing.assert_close(net.inputs(images)[1, 1], images[1, 1])
    torch.save(net.state_dict(), tmp_path / "net.pt")
    other = ImputedModalitiesNet(nn.Conv2d(2, 1, 1), ("t1", "t2"), fill="average")
    other.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    torch.testing.assert_close(other(images), net(images))
    assert torch.export.export(net, (images,)).module()(images).isfinite().all()
    images[0, 1, 0, 0] = NAN
    images[0].nan_to_num()
    assert net(images).isfinite().all()


@pytest.mark.parametrize("channels", [1, 3])
def test_one_average_for_each_slice(channels):
    net = ImputedModalitiesNet(nn.Identity(), ("t1", "t2"), in_channels=channels, fill="average")
    volumes = torch.rand(3, 2 * channels, 4, 5, 6)
    net.set_average(volumes)
    mean = volumes.mean(0)
    volume = volumes[:1].clone()
    volume[:, :channels] = NAN
    slices = torch.tensor([4, 0, 4])
    images = volume[0][..., slices].movedim(-1, 0)
    found = net(images, slices=slices)
    torch.testing.assert_close(found[:, :channels], mean[:channels][..., slices].movedim(-1, 0))
    torch.testing.assert_close(found[:, channels:], images[:, channels:])
    whole = net.inputs(volume)
    torch.testing.assert_close(found, whole[0][..., slices].movedim(-1, 0))
    for lacking, given in ((images, None), (images[..., :4], slices), (volume[..., :3], None)):
        with pytest.raises(ValueError, match=r"size \(4, 5, 6\) of the average images .* \(or be one of 6 slices"):
            net(lacking, slices=given)
    window = whole[..., :3]  # it was filled before
    assert net(window) is window


def test_messages():
    with pytest.raises(ValueError, match="modalities must be one or more different names"):
        ImputedModalitiesNet(nn.Identity(), ("t1", "t1"))
    with pytest.raises(ValueError, match="fill must be 'zero' or 'average', got 'mean'"):
        ImputedModalitiesNet(nn.Identity(), ("t1",), fill="mean")
    net = ImputedModalitiesNet(nn.Identity(), ("t1", "t2"), fill="average")
    with pytest.raises(ValueError, match=r"image must have the shape \(B, 2, \*spatial\) - 2 modalities"):
        net(torch.zeros(1, 3, 4))
    with pytest.raises(ValueError, match="fill='average' needs the mean images"):
        net(torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match=r"every modality at least once, none has \['t2'\]"):
        net.set_average([torch.tensor([[1.0], [NAN]])])
    with pytest.raises(ValueError, match="images must be of one size"):
        net.set_average([torch.zeros(2, 3), torch.zeros(2, 4)])
    net.set_average([torch.zeros(2, 3)])
    with pytest.raises(
        ValueError, match=r"image must have the spatial size \(3,\) of the average images .* got \(4,\)"
    ):
        net(torch.full((1, 2, 4), NAN))
    with pytest.raises(ValueError, match="fill must be 'average' for set_average"):
        ImputedModalitiesNet(nn.Identity(), ("t1",)).set_average([])
