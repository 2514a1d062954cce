# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.networks.nets import AnatomyUNet, DualStreamUNet, SelectStream
from tests.networks.network_tester import num_parameters

DOWN, BOTTLENECK, UP, OUT = 4_688_064, 14_161_920, 15_675_840, 65 * 5  # the fact sheet of DAFNet, section 3
FIRST = 9 * 64 + 64 + 2 * 64  # convolution of one channel with its bias, scale and shift of the norm
COUNTS = {
    "v1": 2 * (DOWN + BOTTLENECK) + UP + OUT,
    "v2": FIRST + DOWN + BOTTLENECK + UP + OUT,
    "v3": DOWN + BOTTLENECK + 2 * (UP + OUT),
    "v4": 2 * DOWN + BOTTLENECK + 2 * UP + OUT,
}


@pytest.mark.parametrize("shared", COUNTS)
def test_parameter_count(shared):
    with torch.device("meta"):
        network = DualStreamUNet(2, 1, 5, shared=shared)
    assert num_parameters(network) == COUNTS[shared]
    assert shared != "v4" or COUNTS[shared] == 54_890_053  # fact sheet, section 3


@pytest.mark.parametrize(
    ("shared", "apart"),
    [
        ("v1", ["contracting", "expanding.bottleneck"]),
        ("v2", ["contracting.levels.0.first"]),
        ("v3", ["expanding.levels", "expanding.out"]),
        ("v4", ["contracting", "expanding.levels"]),
    ],
)
def test_what_is_shared(shared, apart):
    """A step in one stream moves its own parts and what is shared, and nothing that is the other's."""
    network = DualStreamUNet(2, 1, 3, shared=shared, features=(2, 4, 4))
    before = [{name: value.clone() for name, value in s.state_dict().items()} for s in network.streams]
    network(torch.rand(2, 1, 8, 8), 1).square().sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 0.1 * (0 if parameter.grad is None else parameter.grad.sign())
    first, second = (stream.state_dict() for stream in network.streams)
    assert all(torch.equal(first[name], before[0][name]) for name in first if name.startswith(tuple(apart)))
    moved = {name for name in second if not torch.equal(second[name], before[1][name])}
    assert any(name.startswith(tuple(apart)) for name in moved)
    assert all(torch.equal(first[name], second[name]) for name in first if not name.startswith(tuple(apart)))


def test_each_stream_is_a_unet():
    network = DualStreamUNet(2, 1, 3, features=(2, 4)).eval()
    plain = AnatomyUNet(2, 1, 3, features=(2, 4)).eval()
    plain.load_state_dict(network.streams[1].state_dict())
    image = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(network(image, 1), plain(image))


def test_every_row_goes_through_the_stream_of_its_modality():
    network = DualStreamUNet(2, 1, 3, features=(2, 4)).eval()
    image = torch.rand(2, 2, 8, 8)
    image[1, 1] = float("nan")  # the second sample has the source only
    expected = torch.cat([network(image[:1, 1:], 1), network(image[1:, :1], 0)])
    chosen = SelectStream(network, 1, 2).eval()
    torch.testing.assert_close(chosen(image), expected)
    torch.testing.assert_close(torch.jit.script(chosen)(image), expected)
    torch.testing.assert_close(torch.export.export(chosen, (image,)).module()(image), expected)
    torch.testing.assert_close(SelectStream(network, 1, 2, unlabelled=[1])(image[:1]), network(image[:1, 1:], 0))


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"shared must be one of \['v1', 'v2', 'v3', 'v4'\], got 'v5'"):
        DualStreamUNet(shared="v5")
    with pytest.raises(ValueError, match=r"num_streams must be 1 or more, got 0"):
        DualStreamUNet(num_streams=0)
    with pytest.raises(ValueError, match=r"stream must be from 0 to 1, got 2"):
        DualStreamUNet(features=(2, 4))(torch.zeros(1, 1, 8, 8), 2)
    with pytest.raises(ValueError, match=r"unlabelled must leave out at least one of 0 .. 1, got \[0, 1\]"):
        SelectStream(DualStreamUNet(features=(2, 4)), 1, 2, unlabelled=[0, 1])
