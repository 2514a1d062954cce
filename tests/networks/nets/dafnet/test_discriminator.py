# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.networks.nets import AdversarialDiscriminator
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.reference_loading import image_of, listed_layers_of, load_discriminator


class TestAdversarialDiscriminator(NetworkTester):
    spectral = "norm"
    scripts = False  # never deployed; TorchScript knows no parametrisations

    def make(self, spatial_dims):
        return AdversarialDiscriminator(2, (48, 46, 46)[:spatial_dims], features=2, spectral=self.spectral)

    def inputs(self, spatial_dims):
        return (torch.rand(2, 2, *(48, 46, 46)[:spatial_dims]),)


class TestAdversarialDiscriminatorWithPenalty(TestAdversarialDiscriminator):
    spectral = "penalty"
    scripts = True
    dims = (2,)


class TestAdversarialDiscriminatorBare(TestAdversarialDiscriminatorWithPenalty):
    spectral = "none"


def test_equals_reference(reference):
    vectors = np.load(reference / "dafnet_discriminator.npz")
    network = AdversarialDiscriminator(4, (64, 64), features=4, spectral="none")
    load_discriminator(network, listed_layers_of(vectors, "disc"))
    out = network(image_of(vectors["disc_in"]))
    torch.testing.assert_close(out, torch.as_tensor(vectors["disc_out"]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("spectral", ["norm", "penalty", "none"])
@pytest.mark.parametrize(("channels", "count"), [(4, 2_942_401), (1, 2_939_329)])
def test_parameter_count(spectral, channels, count):
    network = AdversarialDiscriminator(channels, (192, 192), spectral=spectral)
    assert num_parameters(network) == count


def test_norm_holds_the_inner_convolutions_only():
    network = AdversarialDiscriminator(2, (46, 46), features=4)
    for _ in range(30):  # power iterations go on in training
        network(torch.rand(1, 2, 46, 46))
    norms = [torch.linalg.matrix_norm(conv.weight.flatten(1), ord=2).item() for conv in network.convs[::2]]
    assert norms[1:] == pytest.approx([1, 1, 1], abs=2e-2)
    assert abs(norms[0] - 1) > 0.1


def test_norm_is_frozen_in_evaluation():
    network = AdversarialDiscriminator(2, (46, 46), features=4).eval()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network(torch.rand(1, 2, 46, 46))
    assert before
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_penalty_pulls_towards_unit_norm():
    network = AdversarialDiscriminator(2, (46, 46), features=4, spectral="penalty")
    inner, start = network.convs[2].weight, network.penalty_start_0.clone()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    first = network.spectral_penalty().item()
    for _ in range(100):
        optimizer.zero_grad()
        network.spectral_penalty().backward()
        optimizer.step()
    assert network.spectral_penalty().item() < 0.3 * first
    assert torch.linalg.matrix_norm(inner.flatten(1), ord=2).item() == pytest.approx(1, abs=0.25)
    assert torch.equal(network.penalty_start_0, start)


def test_penalty_is_the_sum_over_the_inner_convolutions():
    network = AdversarialDiscriminator(2, (46, 46), features=4, spectral="penalty").double()
    expected = 0.0
    for index in range(3):
        matrix = network.convs[2 * index + 2].weight.detach().numpy().reshape(8 * 2**index, -1)
        u = network.get_buffer(f"penalty_start_{index}").numpy()
        for _ in range(3):
            v = matrix @ u / np.linalg.norm(matrix @ u)
            u = matrix.T @ v / np.linalg.norm(matrix.T @ v)
        sigma = v @ matrix @ u
        expected += 10 * np.abs(matrix / sigma - matrix).mean()
    assert network.spectral_penalty().item() == pytest.approx(expected, rel=1e-6)
    assert all(-1 <= network.get_buffer(f"penalty_start_{i}").min() < -0.5 for i in range(3))


@pytest.mark.parametrize("spectral", ["norm", "none"])
def test_no_penalty_otherwise(spectral):
    penalty = AdversarialDiscriminator(2, (46, 46), features=2, spectral=spectral).spectral_penalty()
    assert penalty.shape == ()
    assert penalty.item() == 0


def test_same_padding_puts_the_odd_zero_at_the_end():
    """By hand: a kernel of ones on 5 ones with stride 2 sees 0111, 1111 and 1100, on 4 of them 0111, 1111, 1110."""
    network = AdversarialDiscriminator(1, (5, 4), 1, "none", padding="same", strides=(2,))
    pad, conv, _ = network.convs
    torch.nn.init.ones_(conv.weight)
    found = conv(pad(torch.ones(1, 1, 5, 4)))[0, 0]
    torch.testing.assert_close(found, torch.tensor([[3.0], [4.0], [2.0]]) * torch.tensor([[3.0, 3.0]]))
    unit = AdversarialDiscriminator(1, (5, 4), 1, "none", padding="same", strides=(1,))
    torch.nn.init.ones_(unit.convs[1].weight)
    along = unit.convs[1](unit.convs[0](torch.ones(1, 1, 5, 4)))[0, 0, 1] / 4  # a row that no zero reaches
    assert along.tolist() == [3.0, 4.0, 3.0, 2.0]


@pytest.mark.parametrize(("size", "left"), [(192, 12), (48, 3), (25, 2), (17, 2)])
def test_same_padding_divides_any_size(size, left):
    """Rounded up: 25 -> 13 -> 7 -> 4 -> 2, then stride 1."""
    network = AdversarialDiscriminator(1, (size, size), 1, "penalty", padding="same", strides=(2, 2, 2, 2, 1))
    assert network.out.in_features == 16 * left**2
    assert network(torch.rand(2, 1, size, size)).shape == (2, 1)
    assert len([name for name, _ in network.named_buffers()]) == 4  # penalised: all but the first


def test_two_forwards_before_one_backward():
    network = AdversarialDiscriminator(2, (46, 46), features=2)
    real, fake = network(torch.rand(2, 2, 46, 46)), network(torch.rand(2, 2, 46, 46))
    ((real - 1).square().mean() + fake.square().mean()).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"spatial_size must be two or three numbers of at least 46, .* got \(45, 64"):
        AdversarialDiscriminator(1, (45, 64))
    with pytest.raises(ValueError, match=r"spectral must be one of \('norm', 'penalty', 'none'\), got 'soft'\."):
        AdversarialDiscriminator(1, (46, 46), spectral="soft")
    with pytest.raises(ValueError, match=r"padding must be one of \('valid', 'same'\), got 'full'\."):
        AdversarialDiscriminator(1, (46, 46), padding="full")
    with pytest.raises(ValueError, match=r"x must have the spatial size \[46, 46\] .*, got \[48, 48\]\."):
        AdversarialDiscriminator(1, (46, 46), features=2)(torch.rand(1, 1, 48, 48))
