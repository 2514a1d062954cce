# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_mmseg.networks.nets import AttentionGatedUNet
from tests.networks.layers.test_attention_gate import copy_gate
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.reference_cases import arrays_of, cases_of

SIZE = (32, 16, 32)
SMALL = {"features": (2, 3, 4, 4)}


class TestAttentionGatedUNet(NetworkTester):
    may_have_zero_gradient = (".0.bias",)  # in front of batch normalisation
    settings = SMALL

    def make(self, spatial_dims):
        torch.manual_seed(0)
        return AttentionGatedUNet(spatial_dims, 3, 2, **self.settings)

    def inputs(self, spatial_dims):
        return (torch.rand(2, 3, *SIZE[:spatial_dims], generator=torch.Generator().manual_seed(0)),)

    def test_shape(self, spatial_dims):
        assert self.make(spatial_dims)(*self.inputs(spatial_dims)).shape == (2, 2, *SIZE[:spatial_dims])


class TestWithoutGates(TestAttentionGatedUNet):
    settings = {**SMALL, "gates": False}
    dims = (2,)


class TestReleased(TestAttentionGatedUNet):
    settings = {**SMALL, "activation": "original"}
    dims = (2,)


def copy_layer(layer, arrays, conv, norm=None):
    with torch.no_grad():
        for key in ("weight", "bias"):
            (layer if norm is None else layer[0]).get_parameter(key).copy_(arrays[f"w.{conv}.{key}"])
            if norm is not None:
                layer[1].get_parameter(key).copy_(arrays[f"w.{norm}.{key}"])


@pytest.mark.parametrize("case", cases_of("disentangle_unet_attention"))
def test_original(case):
    settings, arrays = cases_of("disentangle_unet_attention")[case], arrays_of("disentangle_unet_attention", case)
    features = [settings["first"] * k for k in (1, 2, 4, 8, 8)]
    net = AttentionGatedUNet(2, settings["in_ch"], settings["out_ch"], features=features, activation="original").eval()
    copy_layer(net.down_1, arrays, "down_1.0")
    for number, level in enumerate(net.down, start=2):
        copy_layer(level, arrays, f"down_{number}.conv.0", f"down_{number}.conv.1")
    for number, level, gate in zip((4, 3, 2, 1), net.up, net.gates, strict=True):
        copy_layer(level, arrays, f"up_{number}.up.1", f"up_{number}.bn")
        copy_gate(gate, arrays, f"w.att_{number}")
    copy_layer(net.out, arrays, "output.up.1")
    found = []
    for gate in net.gates:
        gate.register_forward_pre_hook(lambda own, given: found.append(own.attention(*given)))
    out = net(arrays["x"].float())
    torch.testing.assert_close(out, arrays["out"].float(), rtol=0, atol=1e-4 * float(arrays["out"].abs().max()))
    for number, alpha in zip((4, 3, 2, 1), found, strict=True):
        torch.testing.assert_close(alpha, arrays[f"alpha_{number}"].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "gates", "count"),
    [
        (12, True, 14_775_111),
        (4, True, 14_766_919),
        (6, True, 14_768_967),
        (14, True, 14_777_159),
        (12, False, 12_423_299),
    ],
)
def test_counts_of_the_original(channels, gates, count):
    """Less the two numbers of its idle normalisation."""
    with torch.device("meta"):
        net = AttentionGatedUNet(2, channels, 1, gates=gates)
    assert num_parameters(net) == count - 2


def test_activations():
    image = torch.randn(2, 3, 32, 32)
    paper, released = (AttentionGatedUNet(2, 3, 1, activation=name, **SMALL).eval() for name in ("relu", "original"))
    released.load_state_dict(paper.state_dict())
    assert not torch.allclose(paper(image), released(image))


def test_messages():
    with pytest.raises(ValueError, match="activation must be one of"):
        AttentionGatedUNet(2, 1, 1, activation="tanh")
    with pytest.raises(ValueError, match="features must have at least two levels"):
        AttentionGatedUNet(2, 1, 1, features=(4,))
    with pytest.raises(ValueError, match="image must be divisible by 16"):
        AttentionGatedUNet(2, 1, 1, **SMALL)(torch.zeros(1, 1, 24, 32))
