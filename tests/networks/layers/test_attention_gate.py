# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_mmseg.networks.layers import SpatialAttentionGate
from tests.networks.network_tester import NetworkTester
from tests.reference_cases import arrays_of, cases_of


class TestSpatialAttentionGate(NetworkTester):
    dims = (1, 2, 3)
    may_have_zero_gradient = ("out.0.bias",)  # in front of batch normalisation

    def make(self, spatial_dims):
        return SpatialAttentionGate(spatial_dims, 3, 4)

    def inputs(self, spatial_dims):
        return torch.rand(2, 3, *(8, 12, 8)[:spatial_dims]), torch.rand(2, 4, *(4, 6, 4)[:spatial_dims])


def copy_gate(gate, arrays, name):
    """Weights of the original's gate."""
    layers = {"W_x": gate.skip, "W_g": gate.gate, "W_psi": gate.score, "W_out.0": gate.out[0], "W_out.1": gate.out[1]}
    with torch.no_grad():
        for theirs, layer in layers.items():
            for key, value in layer.named_parameters():
                value.copy_(arrays[f"{name}.{theirs}.{key}"])


@pytest.mark.parametrize("case", cases_of("disentangle_attention_gate"))
def test_original(case):
    settings, arrays = cases_of("disentangle_attention_gate")[case], arrays_of("disentangle_attention_gate", case)
    gate = SpatialAttentionGate(2, settings["in_ch"], settings["gate_ch"]).eval()
    copy_gate(gate, arrays, "w")
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(gate.attention(arrays["x"], arrays["gate"]), arrays["alpha"], **close)
    torch.testing.assert_close(gate(arrays["x"], arrays["gate"]), arrays["out"], **close)


def test_a_gate_of_another_size():
    gate = SpatialAttentionGate(2, 3, 4).eval()
    x = torch.rand(1, 3, 16, 16)
    constant = torch.rand(1, 4, 1, 1)
    torch.testing.assert_close(gate(x, constant.expand(1, 4, 8, 8)), gate(x, constant.expand(1, 4, 3, 5)))
    assert ((gate.attention(x, constant) > 0) & (gate.attention(x, constant) < 1)).all()
