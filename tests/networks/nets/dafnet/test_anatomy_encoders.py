# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_mmseg.networks.nets import AnatomyEncoders
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.reference_loading import image_of, layers_of, load_anatomy_encoders, read_vectors

SMALL = {"features": (4, 6, 8)}


class BothModalities(nn.Module):
    """One tensor in, the anatomies of both modalities out."""

    def __init__(self, encoders):
        super().__init__()
        self.encoders = encoders

    def forward(self, image):
        return torch.cat([self.encoders(image, 0), self.encoders(image, 1)], dim=1)


class TestAnatomyEncoders(NetworkTester):
    may_have_zero_gradient = ("conv.bias",)

    def make(self, spatial_dims):
        return BothModalities(AnatomyEncoders(spatial_dims, 1, 4, **SMALL))

    def inputs(self, spatial_dims):
        return (torch.rand(2, 1, *[8] * spatial_dims),)


class TestModalityNorm(TestAnatomyEncoders):
    def make(self, spatial_dims):
        return BothModalities(AnatomyEncoders(spatial_dims, 1, 4, modality_norm=True, binarise="argmax", **SMALL))


def with_statistics(module):
    return num_parameters(module) + sum(b.numel() for name, b in module.named_buffers() if "running" in name)


@pytest.mark.parametrize("modality", [1, 2])
def test_original_output(modality):
    vectors = read_vectors("dafnet_anatomy_encoders")
    encoders = AnatomyEncoders(2, 1, 8, num_modalities=2, features=(4, 8, 16, 32, 64)).eval()
    load_anatomy_encoders(encoders, [layers_of(vectors, "enc1"), layers_of(vectors, "enc2")])
    image = image_of(vectors[f"x{modality}"])
    probs = encoders.probabilities(image, modality - 1)
    torch.testing.assert_close(probs, image_of(vectors[f"softmax{modality}"]), atol=1e-4, rtol=0)
    assert torch.equal(encoders(image, modality - 1), image_of(vectors[f"rounded{modality}"]))


@pytest.mark.parametrize(
    ("modalities", "trainable", "stored"), [(1, 34_526_344, 34_540_040), (2, 39_214_408, 39_231_944)]
)
def test_parameter_count(modalities, trainable, stored):
    with torch.device("meta"):  # shapes without values
        encoders = AnatomyEncoders(2, 1, 8, num_modalities=modalities)
    assert (num_parameters(encoders), with_statistics(encoders)) == (trainable, stored)
    parts = [encoders.contracting[0], encoders.expanding.bottleneck, encoders.expanding.levels, encoders.expanding.out]
    assert [num_parameters(part) for part in parts] == [4_688_064, 14_161_920, 15_675_840, 520]


def test_rounded_anatomy_is_binary_with_at_most_one_channel():
    anatomy = AnatomyEncoders(2, 1, 8, **SMALL)(torch.randn(2, 1, 16, 16), 0)
    assert set(anatomy.unique().tolist()) <= {0.0, 1.0}
    assert set(anatomy.sum(1).unique().tolist()) == {0.0, 1.0}


def test_argmax_anatomy_is_one_hot():
    anatomy = AnatomyEncoders(2, 1, 8, binarise="argmax", **SMALL)(torch.randn(2, 1, 16, 16), 1)
    assert set(anatomy.unique().tolist()) == {0.0, 1.0}
    assert (anatomy.sum(1) == 1).all()


def test_an_anatomy_that_is_not_binarised_is_the_softmax():
    encoders, image = AnatomyEncoders(2, 1, 8, binarise="none", **SMALL).eval(), torch.randn(2, 1, 16, 16)
    assert torch.equal(encoders(image, 1), encoders.probabilities(image, 1))
    assert not torch.equal(encoders(image, 1), encoders(image, 1).round())


@pytest.mark.parametrize("binarise", ["round", "argmax", "none"])
def test_gradient_is_that_of_the_softmax(binarise):
    encoders = AnatomyEncoders(2, 1, 4, binarise=binarise, **SMALL).eval()
    image, upstream = torch.randn(1, 1, 8, 8, requires_grad=True), torch.randn(1, 4, 8, 8)
    binary = torch.autograd.grad((encoders(image, 0) * upstream).sum(), image)[0]
    soft = torch.autograd.grad((encoders.probabilities(image, 0) * upstream).sum(), image)[0]
    assert soft.abs().max() > 0
    torch.testing.assert_close(binary, soft)


def test_softmax_sums_to_one():
    probs = AnatomyEncoders(2, 1, 8, **SMALL).probabilities(torch.randn(1, 1, 16, 16), 0)
    torch.testing.assert_close(probs.sum(1), torch.ones(1, 16, 16))


def test_modality_norm_shares_the_convolutions_alone():
    plain, apart = AnatomyEncoders(2, 1, 4, **SMALL), AnatomyEncoders(2, 1, 4, modality_norm=True, **SMALL)
    shared_norms = sum(p.numel() for name, p in plain.expanding.named_parameters() if "norms" in name)
    assert num_parameters(apart) - num_parameters(plain) == shared_norms
    assert [p.shape for n, p in apart.named_parameters() if "conv." in n] == [
        p.shape for n, p in plain.named_parameters() if "conv." in n
    ]


def test_modality_norm_keeps_statistics_apart():
    encoders = AnatomyEncoders(2, 1, 4, modality_norm=True, **SMALL)
    before = encoders.eval()(torch.ones(1, 1, 8, 8), 0)
    encoders.train()
    for _ in range(5):
        encoders(5 * torch.randn(2, 1, 8, 8), 1)
    assert torch.equal(encoders.eval()(torch.ones(1, 1, 8, 8), 0), before)


def test_initial_gain_leaves_no_channel_empty():
    def used(gain):
        torch.manual_seed(0)
        encoders = AnatomyEncoders(2, 1, 8, num_modalities=1, features=(8, 16, 32, 64, 128), initial_gain=gain)
        noise = torch.nn.functional.interpolate(torch.randn(4, 1, 16, 16), size=(64, 64), mode="bilinear")
        return int((encoders(noise, 0).mean((0, 2, 3)) > 1e-3).sum())

    assert used(10.0) == 8
    assert used(None) < 4


def test_softmax_is_single_precision_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert AnatomyEncoders(2, 1, 4, **SMALL).probabilities(torch.randn(1, 1, 8, 8), 0).dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"binarise": "floor"}, "binarise must be 'round', 'argmax' or 'none', got 'floor'"),
        ({"num_modalities": 0}, "num_modalities must be 1 or more, got 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AnatomyEncoders(2, 1, 4, **SMALL, **settings)


def test_unknown_modality_is_refused():
    with pytest.raises(ValueError, match="modality must be from 0 to 1, got 2"):
        AnatomyEncoders(2, 1, 4, **SMALL)(torch.zeros(1, 1, 8, 8), 2)


@pytest.mark.parametrize("modality_norm", [False, True])
@pytest.mark.parametrize("rows", [(3, 2), (0, 4), (3, 0)])
def test_all_modalities_at_once_equal_one_after_the_other(modality_norm, rows):
    torch.manual_seed(0)
    together = AnatomyEncoders(2, 1, 4, modality_norm=modality_norm, **SMALL).double().train()
    apart = AnatomyEncoders(2, 1, 4, modality_norm=modality_norm, **SMALL).double().train()
    apart.load_state_dict(together.state_dict())
    images = [torch.rand(count, 1, 32, 32, dtype=torch.float64) for count in rows]
    found = together.stacked(images)
    expected = torch.cat([apart(image, m) for m, image in enumerate(images) if len(image)])
    assert torch.equal(found, expected)
    weights = torch.rand_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for (name, one), other in zip(together.named_parameters(), apart.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-9, msg=name)
    for one, other in zip(together.buffers(), apart.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_all_modalities_at_once_refuses_another_number():
    with pytest.raises(ValueError, match="images must hold one tensor for each of 2 modalities, got 1"):
        AnatomyEncoders(2, 1, 4, **SMALL).stacked([torch.zeros(1, 1, 8, 8)])
