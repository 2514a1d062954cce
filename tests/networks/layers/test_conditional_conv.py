# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from monai_mmseg.networks.layers import ConditionalConv
from tests.networks.network_tester import num_parameters
from tests.reference_cases import arrays_of, cases_of

CASES = cases_of("disentangle_condconv")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def of_case(case):
    settings, arrays = CASES[case], arrays_of("disentangle_condconv", case)
    conv = ConditionalConv(
        2,
        settings["in_ch"],
        settings["out_ch"],
        4,
        kernel_size=settings["kernel"],
        stride=settings["stride"],
        padding=settings["padding"],
        groups=settings["groups"],
        num_experts=settings["experts"],
        routing="scalar",
    )
    with torch.no_grad():
        conv.weight.copy_(arrays["weight"])
        conv.bias.copy_(arrays["bias"])
        conv.route_weight.copy_(arrays["routing_weight"])
        conv.route_bias.copy_(arrays["routing_bias"])
    return conv, arrays


@pytest.mark.parametrize("case", CASES)
def test_original(case):
    conv, arrays = of_case(case)
    modality = (arrays["modality"].reshape(-1) - 1).long()
    x = arrays["x"].float().requires_grad_()
    torch.testing.assert_close(conv.mixture()[modality], arrays["beta"].float(), **CLOSE)
    found = conv(x, modality)
    torch.testing.assert_close(found, arrays["out"].float(), **CLOSE)
    found.square().sum().backward()
    torch.testing.assert_close(x.grad, arrays["grad_x"].float(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(conv.weight.grad, arrays["grad_weight"].float(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(conv.route_weight.grad, arrays["grad_routing_weight"].float(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("routing", ["table", "scalar"])
@pytest.mark.parametrize("index", [[0, 1, 2, 0, 1, 2], [2, 0, 2, 1, 1, 0], [1, 1, 0, 0, 1, 0], [2] * 6])
def test_mixed_batches_equal_single_images(dims, groups, routing, index):
    torch.manual_seed(0)
    conv = ConditionalConv(dims, 4, 6, 3, stride=2, padding=1, groups=groups, routing=routing).double()
    x = torch.rand(6, 4, *[7] * dims, dtype=torch.float64)
    found = conv(x, torch.tensor(index))
    for row, m in enumerate(index):
        plain = nn.functional.conv3d if dims == 3 else (nn.functional.conv2d if dims == 2 else nn.functional.conv1d)
        kernel = sum(b * w for b, w in zip(conv.mixture()[m], conv.weight, strict=True))
        torch.testing.assert_close(found[row : row + 1], plain(x[row : row + 1], kernel, conv.bias, 2, 1, 1, groups))
    torch.testing.assert_close(conv(x, index), found)
    torch.testing.assert_close(conv(x[:2], index[0]), conv(x[:2], [index[0]] * 2))


def test_one_expert_is_a_scaled_plain_kernel_and_equal_experts_are_one():
    x = torch.rand(2, 3, 8, 8)
    one = ConditionalConv(2, 3, 5, 2, num_experts=1)
    for m in range(2):
        expected = nn.functional.conv2d(x, one.mixture()[m, 0] * one.weight[0], one.bias)
        torch.testing.assert_close(one(x, m), expected)
    three = ConditionalConv(2, 3, 5, 2)
    with torch.no_grad():
        three.weight.copy_(three.weight[:1].expand_as(three.weight))
    expected = nn.functional.conv2d(x, three.mixture()[1].sum() * three.weight[0], three.bias)
    torch.testing.assert_close(three(x, 1), expected)


@pytest.mark.parametrize("routing", ["table", "scalar"])
def test_gradient_reaches_every_expert_and_the_routing(routing):
    conv = ConditionalConv(2, 3, 5, 2, routing=routing)
    conv(torch.rand(4, 3, 8, 8), [0, 1, 1, 0]).square().sum().backward()
    assert all(p.grad is not None and p.grad.flatten(1 if p.ndim > 1 else 0).any() for p in conv.parameters())
    assert conv.weight.grad.flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("size", "k", "count"), [((3, 32), 4, 4646), ((32, 64), 4, 98_502 - 128), ((16, 32), 3, 13_862)]
)
def test_parameter_counts(size, k, count):
    """Of the fact sheet's tables; 128 of the second are its batch normalisation."""
    conv = ConditionalConv(2, *size, 4, kernel_size=k, routing="scalar")
    assert num_parameters(conv) == count
    table = ConditionalConv(2, *size, 4, kernel_size=k)
    assert num_parameters(table) == count - 6 + 12


@pytest.mark.parametrize("routing", ["table", "scalar"])
def test_mixed_kernels_start_with_the_spread_of_plain_ones(routing):
    torch.manual_seed(0)
    plain = nn.Conv2d(64, 128, 4).weight.std()
    conv = ConditionalConv(2, 64, 128, 4, kernel_size=4, routing=routing)
    spread = conv.kernels().flatten(1).std(1)
    assert (spread / plain - 1).abs().max() < 0.5
    torch.testing.assert_close(spread.square().mean().sqrt(), plain, rtol=0.02, atol=0)
    released = ConditionalConv(2, 64, 128, 4, kernel_size=4, routing=routing, init="xavier")
    torch.testing.assert_close(
        released.weight.std(), torch.tensor(0.0039), rtol=0.05, atol=0
    )  # the fact sheet's figure
    assert not released.bias.any()


def test_state_and_scripts():
    conv = ConditionalConv(2, 3, 5, 4)
    other = ConditionalConv(2, 3, 5, 4)
    other.load_state_dict(conv.state_dict())
    x = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(other(x, [0, 1, 2, 3]), conv(x, [0, 1, 2, 3]))
    program = torch.export.export(conv, (x, 2))
    torch.testing.assert_close(program.module()(x, 2), conv(x, 2))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("index", [[0, 0, 1, 1, 2, 2], [0, 1, 2, 0, 1, 2], [2, 0, 1, 1, 0, 2]])
def test_channels_last_gives_the_same(dims, index):
    memory_format = {2: torch.channels_last, 3: torch.channels_last_3d}[dims]
    conv = ConditionalConv(dims, 4, 6, 3, kernel_size=3, padding=1).double()
    other = ConditionalConv(dims, 4, 6, 3, kernel_size=3, padding=1).double().to(memory_format=memory_format)
    other.load_state_dict(conv.state_dict())
    assert all(expert.is_contiguous(memory_format=memory_format) for expert in other.weight)
    assert all(kernel.is_contiguous(memory_format=memory_format) for kernel in other.kernels())
    x = torch.rand(6, 4, *[8] * dims, dtype=torch.float64)
    found = other(x, index)
    torch.testing.assert_close(found, conv(x, index))
    for one in (conv, other):
        one(x, index).square().sum().backward()
    assert other.weight.grad.stride() == other.weight.stride()
    for own, expected in zip(other.parameters(), conv.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad)


def test_memory_format_leaves_one_dimension_alone():
    conv = ConditionalConv(1, 4, 6, 3)
    assert conv.to(memory_format=torch.channels_last).weight.is_contiguous()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 4}, "spatial_dims must be 1, 2 or 3, got 4"),
        ({"num_experts": 0}, "must be at least 1"),
        ({"groups": 2}, "groups must divide 3 and 4 channels, got 2"),
        ({"routing": "image"}, "routing must be"),
        ({"init": "zero"}, "init must be"),
    ],
)
def test_messages_of_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ConditionalConv(**{"spatial_dims": 2, "in_channels": 3, "out_channels": 4, "num_modalities": 2, **settings})


@pytest.mark.parametrize("modality", [2, -1, [0], [0, 5], [0, 0.5], torch.tensor([0, 1, 1])])
def test_messages_of_modalities(modality):
    with pytest.raises(ValueError, match="modality must be one index below 2 or one for each of 2 rows"):
        ConditionalConv(2, 3, 4, 2)(torch.rand(2, 3, 8, 8), modality)


def test_fractions_are_no_modalities():
    conv = ConditionalConv(2, 1, 2, num_modalities=2)
    with pytest.raises(ValueError, match=r"modality must hold whole numbers, got torch\.float32\."):
        conv(torch.rand(2, 1, 4, 4), torch.tensor([0.6, 1.9]))
    with pytest.raises(ValueError, match=r"modality must hold whole numbers, got torch\.bool\."):
        conv(torch.rand(2, 1, 4, 4), torch.tensor([True, False]))  # a column of `present`
