# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_mmseg.inferers import CrossReconstructionInferer, SynthesisInferer
from monai_mmseg.inferers.synthesis_inferer import cross_reconstructions
from monai_mmseg.networks.nets import DisentangleNet

MODALITIES = ("t1", "t2", "flair")
SLICES = {"roi_size": (64, 32), "spatial_dim": 2, "sw_batch_size": 2}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "conditional"])
def net(request):
    torch.manual_seed(0)
    network = DisentangleNet(
        2, 3, modalities=MODALITIES, target="t2", spatial_size=(64, 32), anatomy_features=(4, 4, 4, 4, 4),
        appearance_features=(4, 4), decoder_features=(4, 4, 4, 4, 4, 4, 4), conditional_decoder=request.param,
    )  # fmt: skip
    network.mean_code.normal_()
    return network.eval()


def volume(absent=()):
    image = torch.rand(1, 9, 64, 32, 4, generator=torch.Generator().manual_seed(1))
    for m in absent:
        image[:, 3 * m : 3 * m + 3] = torch.nan
    return image


@pytest.mark.parametrize("target", [None, "t1", "flair"])
@pytest.mark.parametrize("absent", [(), (1,), (0, 2)])
def test_a_volume_is_drawn_slice_by_slice(net, target, absent):
    image = volume(absent)
    with torch.no_grad():
        found = SynthesisInferer(**SLICES, target=target)(image, net)
        each = torch.stack([net(image[..., k], target=target)[:, 1:2] for k in range(4)], -1)
    assert found.shape == (1, 1, 64, 32, 4)
    torch.testing.assert_close(found, each, rtol=1e-4, atol=1e-5)


def test_metadata_reach_the_drawing(net):
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0]))
    image = MetaTensor(volume(), affine=affine)
    with torch.no_grad():
        found = SynthesisInferer(**SLICES)(image, net)
    assert isinstance(found, MetaTensor)
    torch.testing.assert_close(found.affine, image.affine)


def test_every_pair_is_an_anatomy_with_a_code(net):
    image = volume()[..., 0]
    with torch.no_grad():
        found = cross_reconstructions(net, image)
        factors = net.factors(image)
        for i in range(3):
            for j in range(3):
                drawn = net.decode(factors.anatomy[:, i], factors.code[:, j], j)
                torch.testing.assert_close(found[:, i, j], drawn, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("absent", [(), (1,), (0, 2)])
def test_pairs_of_what_is_absent_are_nan_and_change_no_other(net, absent):
    infer = CrossReconstructionInferer(**SLICES)
    with torch.no_grad():
        found, full = infer(volume(absent), net), infer(volume(), net)
    assert found.shape == (1, 9, 64, 32, 4)
    for i in range(3):
        for j in range(3):
            channel = found[:, 3 * i + j]
            if i in absent or j in absent:
                assert channel.isnan().all()
            else:
                torch.testing.assert_close(channel, full[:, 3 * i + j], rtol=1e-4, atol=1e-5)


def test_unknown_target(net):
    with pytest.raises(ValueError, match=r"target must be one of modalities .* got 'pet'"):
        SynthesisInferer(**SLICES, target="pet")(volume(), net)
