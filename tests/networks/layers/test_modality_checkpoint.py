# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Gradient checkpointing: what runs again in the backward pass runs for the modality of its forward pass."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.networks.nets import SwinUNETR
from monai.networks.nets.unet import CheckpointUNet
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from monai_mmseg.networks.layers import ModalityNorm, convert_modality_norm
from tests.networks.layers import modality_zoo

MODALITIES = ["ct", "mr", "us"]


class Net(nn.Module):
    """Two blocks, run plainly or under a checkpoint."""

    def __init__(self, norm, call=None):
        super().__init__()
        self.blocks = nn.Sequential(
            *[nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), norm(), nn.Tanh()) for _ in range(3)]
        )
        self.call = call

    def forward(self, x):
        x = x.repeat(1, 4, 1, 1)
        if self.call == "sequential":
            return checkpoint_sequential(self.blocks, 2, x, use_reentrant=False)
        for block in self.blocks:
            x = block(x) if self.call is None else checkpoint(block, x, use_reentrant=self.call == "reentrant")
        return x


NORMS = {
    "batch": lambda: nn.BatchNorm2d(4),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True),
    "group": lambda: nn.GroupNorm(2, 4),
}


def gradients(network, forwards, separately=False):
    """Gradients of several forward passes of which the backward pass is one."""
    torch.manual_seed(1)
    losses = []
    for modality in forwards:
        image = torch.randn(4, 1, *network.size).requires_grad_()
        losses.append((network(image, modality) * torch.randn(4, 3, *network.size)[:, :1]).sum())
        if separately:
            losses.pop().backward()
    if losses:
        sum(losses).backward()
    return {key: p.grad for key, p in network.named_parameters()}


def prepared(network, size):
    """Converted, with norms that differ between modalities."""
    torch.manual_seed(2)
    network = convert_modality_norm(network, MODALITIES).train()
    network.size = size
    for index, modality in enumerate(MODALITIES):
        for parameter in network.modality_parameters(modality):
            parameter.data.add_(0.3 * index)
    return network


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert (value is None) == (second[key] is None), key
        if value is not None:
            torch.testing.assert_close(value, second[key], rtol=1e-5, atol=1e-6 + 1e-5 * float(value.abs().max()))


FORWARDS = [["ct"], ["mr", "ct", "us", "mr"], [[0, 0, 1, 1], [2, 1, 2, 1]], [[1, 0, 0, 1], "us"]]


@pytest.mark.parametrize("forwards", FORWARDS, ids=["one", "several", "mixed", "both"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("call", ["reentrant", "again", "sequential"])
def test_gradients_equal_those_without_checkpoint(call, norm, forwards):
    plain = Net(NORMS[norm])
    checked = Net(NORMS[norm], call)
    checked.load_state_dict(plain.state_dict())
    expected = gradients(prepared(plain, (6, 6)), forwards)
    assert any(value is not None and value.any() for value in expected.values())
    assert_same(gradients(prepared(checked, (6, 6)), forwards), expected)


def test_mixed_apart():
    networks = [prepared(Net(NORMS["group"], call), (6, 6)) for call in (None, "reentrant")]
    networks[1].load_state_dict(networks[0].state_dict())
    for network in networks:
        network.mixed = "apart"
    forwards = [[1, 0, 0, 1], [2, 2, 0, 2]]
    assert_same(gradients(networks[1], forwards), gradients(networks[0], forwards))


@pytest.mark.parametrize("forwards", [["mr", "ct"], [[1, 0, 0, 2], "us"]], ids=["names", "mixed"])
def test_swin_unetr(forwards):
    arguments = {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "spatial_dims": 2}
    plain, checked = (SwinUNETR(1, 3, **arguments, use_checkpoint=use) for use in (False, True))
    checked.load_state_dict(plain.state_dict())
    expected = gradients(prepared(plain, (64, 64)), forwards)
    got = gradients(prepared(checked, (64, 64)), forwards)
    for key, value in expected.items():
        assert (value is None) == (got[key] is None), key
        if value is not None:
            torch.testing.assert_close(got[key], value, rtol=1e-3, atol=1e-4 * float(value.abs().max()) + 1e-5)


def test_checkpoint_imported_by_name_elsewhere():
    """MONAI's wrapper took the function by name before the project could know of it."""
    plain = modality_zoo.unet(2, "batch")
    checked = CheckpointUNet(2, 1, 3, channels=(4, 8, 8), strides=(2, 2), num_res_units=1, norm="batch")
    values = list(plain.state_dict().values())
    checked.load_state_dict(dict(zip(checked.state_dict(), values, strict=True)))
    forwards = ["mr", "ct", [0, 2, 2, 1]]
    expected = gradients(prepared(plain, (16, 16)), forwards)
    got = gradients(prepared(checked, (16, 16)), forwards)
    assert_same(dict(zip(expected, got.values(), strict=True)), expected)


def test_using_binds_too():
    network = prepared(Net(NORMS["group"], "again"), (6, 6))
    with network.using("mr"):
        output = network.network(torch.randn(2, 1, 6, 6))
    output.square().sum().backward()
    assert all(p.grad is not None for p in network.modality_parameters("mr"))
    assert all(p.grad is None for p in network.modality_parameters("ct"))


def test_recompute_that_nothing_tells_the_modality_raises():
    """A checkpoint of somebody's own, which only keeps the function."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, function, x):
            ctx.function = function
            ctx.save_for_backward(x)
            return function(x)

        @staticmethod
        def backward(ctx, grad):
            with torch.enable_grad():
                x = ctx.saved_tensors[0].detach().requires_grad_()
                ctx.function(x).backward(grad)
            return None, x.grad

    class Owned(Net):
        def forward(self, x):
            return Own.apply(self.blocks, x.repeat(1, 4, 1, 1))

    network = convert_modality_norm(Owned(NORMS["batch"]), MODALITIES)
    output = network(torch.randn(2, 1, 6, 6).requires_grad_(), "mr")
    with pytest.raises(RuntimeError, match=r"ran without a modality: call the ModalityNormNetwork.*switch it off"):
        output.sum().backward()


def test_other_checkpoints_are_left_alone():
    convert_modality_norm(Net(NORMS["batch"]), MODALITIES)(torch.randn(2, 1, 6, 6), "ct")
    block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    again = copy.deepcopy(block)
    x = torch.randn(2, 1, 6, 6)
    for reentrant in (True, False):
        checkpoint(block, x.clone().requires_grad_(), use_reentrant=reentrant).square().sum().backward()
        again(x).square().sum().backward()
    assert_same({k: p.grad for k, p in block.named_parameters()}, {k: p.grad for k, p in again.named_parameters()})
    assert not any(isinstance(module, ModalityNorm) for module in block.modules())
