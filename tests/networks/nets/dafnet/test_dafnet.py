# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from typing import ClassVar

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_mmseg.networks.nets import AdversarialDiscriminator, DAFNet
from tests.networks.nets.dafnet.small_dafnet import SIZE, images, make_dafnet
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.reference_loading import (
    SETTINGS_OF_GENERATOR_STEP,
    classes_of,
    image_of,
    load_dafnet,
    read_vectors,
)


class TestFused(NetworkTester):
    dims = (2,)
    may_have_zero_gradient = ("conv.bias",)
    settings: ClassVar[dict] = {}

    def make(self, spatial_dims):
        torch.manual_seed(3)
        return make_dafnet(**self.settings)

    def inputs(self, spatial_dims):
        """First row complete, second without its first modality."""
        network = self.make(spatial_dims)
        image = images(2, network)
        image[1, : network.num_candidates] = float("nan")
        return (image,)

    def test_every_parameter_gets_a_gradient(self, spatial_dims):
        """From the forward pass and what an objective calls beside it."""
        network = self.make(spatial_dims).train()
        factors = network.factors(images(3, network))
        anatomy = factors.anatomies.flatten(0, 1)
        style = network.style(anatomy, torch.rand(len(anatomy), 1, *network.spatial_size))
        outputs = [network.decode(anatomy, style.mu + style.logvar), network(images(3, network)), factors.deformed]
        sum((part * torch.randn_like(part)).sum() for part in outputs).backward()
        silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert [name for name in silent if "conv.bias" not in name] == []

    def test_evaluation_is_deterministic(self, spatial_dims):
        network, (image,) = self.make(spatial_dims), self.inputs(spatial_dims)
        kept = image.clone()
        assert torch.equal(network(image), network(image))
        torch.testing.assert_close(image, kept, equal_nan=True)

    def test_explicit_presence_exports(self, spatial_dims):
        network, (image,) = self.make(spatial_dims), self.inputs(spatial_dims)
        present = torch.ones(2, network.num_modalities, dtype=torch.bool)
        present[0, -1] = False
        expected = network(image, present)
        self.close(torch.jit.script(network)(image, present), expected)
        self.close(torch.export.export(network, (image, present)).module()(image, present), expected)


class TestThreeModalities(TestFused):
    traced = ()
    settings: ClassVar[dict] = {"num_modalities": 3, "target": "t2"}


class TestCandidates(TestFused):
    settings: ClassVar[dict] = {"num_candidates": 3, "num_modalities": 3}


class TestDeformed(TestFused):
    traced = ()
    settings: ClassVar[dict] = {"inference": "deformed", "modality_norm": True}


class TestSingle(TestFused):
    traced = ()
    settings: ClassVar[dict] = {"inference": "single", "binarise": "argmax", "dropout": 0.3}


class TestWithoutAlignment(TestFused):
    traced = ()
    settings: ClassVar[dict] = {"align": False, "decoder": "spade", "decoder_features": 16, "spatial_size": (64, 64)}


@pytest.fixture
def without_weights():
    """Networks made here have shapes, but no values to draw."""
    with torch.device("meta"):
        yield


@pytest.mark.usefixtures("without_weights")
def test_parameter_count():
    network = DAFNet(2, 1, 5, modalities=("t1", "t2"), target="t2")
    names = ["anatomy_encoders", "modality_encoder", "segmentor", "transformer", "decoder"]
    parts = [num_parameters(getattr(network, name)) for name in names]
    assert parts == [39_214_408, 594_480, 42_181, 3_395_210, 5_841]
    assert num_parameters(network) == 43_252_120
    masks = AdversarialDiscriminator(4, (192, 192))
    pictures = [AdversarialDiscriminator(1, (192, 192)) for _ in range(2)]
    assert num_parameters(network) + num_parameters(masks) + sum(map(num_parameters, pictures)) == 52_073_179


@pytest.mark.usefixtures("without_weights")
def test_parameter_count_with_spade_and_balancer():
    network = DAFNet(2, 1, 5, modalities=("t1", "t2"), target="t2", decoder="spade", num_candidates=3)
    assert num_parameters(network.decoder) == 4_285_649
    assert num_parameters(network.balancer) == 38
    assert num_parameters(network) == 56_352_987 - (52_073_179 - 43_252_120) + 38


@pytest.fixture(scope="module")
def original():
    return read_vectors("dafnet_generator_step")


def original_network(vectors, **settings):
    network = DAFNet(**{**SETTINGS_OF_GENERATOR_STEP, **settings}).eval()
    load_dafnet(network, vectors)
    return network


def test_original_anatomies_and_alignment(original):
    network = original_network(original)
    s1 = network.anatomy(image_of(original["x1"]), 0)
    s2 = network.anatomy(image_of(original["x2"]), 1)
    assert torch.equal(s1, image_of(original["s1"]))
    assert torch.equal(s2, image_of(original["s2"]))
    torch.testing.assert_close(network.deform(s1, s2)[0], image_of(original["s1_deformed"]), atol=2e-3, rtol=0)
    torch.testing.assert_close(network.deform(s2, s1)[0], image_of(original["s2_deformed"]), atol=2e-3, rtol=0)


def test_original_images_from_own_style(original):
    network = original_network(original)
    x1 = image_of(original["x1"])
    s1 = network.anatomy(x1, 0)
    style = network.style(s1, x1)
    drawn = style.mu + (style.logvar / 2).exp() * torch.as_tensor(original["eps"])
    torch.testing.assert_close(network.decode(s1, drawn), image_of(original["out_y1"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("target", "inference", "key"),
    [
        ("one", "fused", "mask1_fused"),
        ("two", "fused", "mask2_fused"),
        ("one", "single", "out_m1"),
        ("two", "single", "out_m2"),
        ("one", "deformed", "out_m1_s2def"),
        ("two", "deformed", "out_m2_s1def"),
    ],
)
def test_original_masks(original, target, inference, key):
    network = original_network(original, target=target, inference=inference)
    image = torch.cat([image_of(original["x1"]), image_of(original["x2"])], dim=1)
    torch.testing.assert_close(network(image).softmax(1), classes_of(original[key]), atol=2e-3, rtol=0)


@pytest.mark.parametrize("num_modalities", [1, 2, 3, 4])
@pytest.mark.parametrize("inference", ["fused", "single", "deformed"])
def test_absent_content_has_no_influence(num_modalities, inference):
    network = make_dafnet(num_modalities, inference=inference)
    subsets = list(itertools.product([True, False], repeat=num_modalities))
    present = torch.tensor(subsets)
    image = images(len(subsets), network)
    expected = network(image, present)
    assert expected.isfinite().all()
    for filling in (0.0, float("nan"), float("inf"), -1e30):
        filled = torch.where(present[:, :, None, None], image, filling)
        assert torch.equal(network(filled, present), expected)
    one_nan = image.clone()
    one_nan[:, :, 3, 5] = torch.where(present, one_nan[:, :, 3, 5], float("nan"))
    assert torch.equal(network(one_nan), expected)


def test_explicit_and_nan_absence_combine():
    network = make_dafnet(3, target="t1")
    image = images(1, network)
    expected = network(image, torch.tensor([[True, False, False]]))
    image[:, 1] = float("nan")
    assert torch.equal(network(image, torch.tensor([[True, True, False]])), expected)


def test_anatomies_of_the_small_network_are_not_trivial():
    network = make_dafnet(3)
    factors = network.factors(images(2, network))
    assert 0.1 < factors.anatomies.mean() < 0.3
    assert (factors.deformed - factors.anatomies).abs().mean() > 1e-3


@pytest.mark.parametrize(
    ("present", "reference"),
    [([1, 1, 1], 1), ([1, 1, 0], 1), ([0, 1, 0], 1), ([1, 0, 1], 0), ([0, 0, 1], 2), ([1, 0, 0], 0), ([0, 0, 0], 1)],
)
def test_reference_is_the_target_or_the_first_present(present, reference):
    network = make_dafnet(3, target="t2")
    factors = network.factors(images(1, network), torch.tensor([present]))
    assert factors.reference.tolist() == [reference]
    assert factors.present.tolist() == [[bool(p) for p in present]]


def test_factors():
    network = make_dafnet(3, target="t2")
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    image = images(3, network)
    factors = network.factors(image, present)
    shapes = {name: tuple(value.shape) for name, value in factors._asdict().items()}
    assert shapes == {
        "anatomies": (3, 3, 4, *SIZE),
        "style": (3, 3, 8),
        "deformed": (3, 3, 4, *SIZE),
        "offsets": (3, 3, 25, 2),
        "fused": (3, 4, *SIZE),
        "reference": (3,),
        "present": (3, 3),
    }
    for value in (factors.anatomies, factors.style, factors.deformed, factors.offsets):
        assert not value[~present].any()
    rows = torch.arange(3)
    assert torch.equal(factors.deformed[rows, factors.reference], factors.anatomies[rows, factors.reference])
    assert not factors.offsets[rows, factors.reference].any()
    assert (factors.fused.unsqueeze(1) >= factors.deformed).all()
    assert not factors.fused[2].any()
    anatomy = network.anatomy(image[:1, :1], 0)
    moved, offsets = network.deform(anatomy, network.anatomy(image[:1, 1:2], 1))
    torch.testing.assert_close(factors.deformed[:1, 0], moved)
    torch.testing.assert_close(factors.offsets[:1, 0], offsets)
    torch.testing.assert_close(factors.style[:1, 0], network.style(anatomy, image[:1, :1]).mu)
    torch.testing.assert_close(network.segment(factors.fused), network(image, present))


def test_order_of_the_other_modalities_does_not_matter():
    network = make_dafnet(3, target="flair")
    image = images(2, network)
    expected = network(image)
    paths = network.anatomy_encoders.contracting
    network.anatomy_encoders.contracting = nn.ModuleList([paths[1], paths[0], paths[2]])
    torch.testing.assert_close(network(image[:, [1, 0, 2]]), expected)


@pytest.mark.parametrize("modality", [0, 1])
def test_a_modality_alone_is_segmented_from_its_own_anatomy(modality):
    for inference in ("fused", "single", "deformed"):
        network = make_dafnet(2, inference=inference)
        image = images(1, network)
        expected = network.segment(network.anatomy(image[:, modality : modality + 1], modality))
        present = torch.tensor([[modality == 0, modality == 1]])
        torch.testing.assert_close(network(image, present), expected)


def test_untrained_transformer_is_the_identity():
    network = DAFNet(2, 1, 2, modalities=("a", "b"), target="a", spatial_size=SIZE, features=(4, 8))
    moving = torch.rand(2, 8, *SIZE)
    moved, offsets = network.deform(moving, torch.rand(2, 8, *SIZE))
    torch.testing.assert_close(moved, moving, atol=1e-4, rtol=0)
    assert not offsets.any()


def test_without_alignment_anatomies_stay():
    network = make_dafnet(2, align=False)
    assert network.transformer is None
    moving = torch.rand(2, 4, *SIZE)
    moved, offsets = network.deform(moving, torch.rand(2, 4, *SIZE))
    assert torch.equal(moved, moving)
    assert offsets.shape == (2, 25, 2)
    assert not offsets.any()


def test_channels_of_a_slice_belong_together():
    network = DAFNet(
        2, 2, 3, modalities=("a", "b"), target="b", spatial_size=SIZE, features=(4, 8), inference="single"
    ).eval()
    image = torch.rand(1, 4, *SIZE)
    torch.testing.assert_close(network(image), network.segment(network.anatomy(image[:, 2:], 1)))


def test_memory_format_and_metadata_do_not_matter():
    network = make_dafnet()
    image = images(2, network)
    expected = network(image)
    torch.testing.assert_close(network(MetaTensor(image)).as_tensor(), expected)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(image.to(memory_format=torch.channels_last)), expected, atol=1e-4, rtol=1e-4)


def test_non_square_images():
    network = DAFNet(2, 1, 2, modalities=("a", "b"), target="b", spatial_size=(32, 48), features=(4, 8, 16)).eval()
    assert network(torch.rand(1, 2, 32, 48)).shape == (1, 2, 32, 48)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 3}, "spatial_dims must be 2: DAFNet aligns and fuses slices; got 3"),
        ({"target": "t3 "}, r"target must be one of modalities \['t1', 't2'\], got 't3 '"),
        (
            {"modalities": ("t1", "flair"), "target": "flar"},
            r"target must be one of modalities \['t1', 'flair'\], got 'flar'. Did you mean 'flair'\?",
        ),
        ({"modalities": ("t1", "t1")}, r"modalities must be one or more different names, got \['t1', 't1'\]"),
        ({"decoder": "unet"}, "decoder must be 'film' or 'spade', got 'unet'"),
        ({"inference": "both"}, "inference must be 'fused', 'single' or 'deformed', got 'both'"),
        ({"num_candidates": 0}, "num_candidates must be 1 or more, got 0"),
        ({"spatial_size": (64, 72)}, r"spatial_size must be divisible by 16 along every axis, got \(64, 72\)"),
        ({"spatial_size": (64, 64, 64)}, r"spatial_size must be two numbers \(rows, columns\), got \(64, 64, 64\)"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DAFNet(**{"modalities": ("t1", "t2"), "target": "t1", "spatial_size": (64, 64), **settings})


@pytest.mark.parametrize(
    ("image", "present", "message"),
    [
        (
            (1, 3, 32, 32),
            None,
            r"image must have the shape \(B, 2, 32, 32\) - 2 modalities \['t1', 't2'\] x 1 candidate",
        ),
        ((1, 2, 32, 33), None, r"got \(1, 2, 32, 33\)"),
        ((2, 32, 32), None, r"got \(2, 32, 32\)"),
        ((2, 2, 32, 32), (2, 3), r"present must have the shape \(2, 2\), got \(2, 3\)"),
    ],
)
def test_wrong_inputs_are_refused(image, present, message):
    network = make_dafnet()
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(image), None if present is None else torch.ones(present, dtype=torch.bool))
