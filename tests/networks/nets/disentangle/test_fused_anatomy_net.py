# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import copy
from itertools import combinations

import pytest
import torch
from torch import nn

from monai_mmseg.networks.layers import pool_anatomies
from monai_mmseg.networks.nets import FusedAnatomyNet
from tests.networks.nets.disentangle.test_disentangle import NAN, image_of, net_of

PRESENT = torch.tensor([[True, False, True], [True, True, False]])


def fused_of(**settings):
    slices = settings.pop("channels", 1)
    channels = 4 * len(settings.get("pools", "abc"))
    channels += 3 * (1 if settings.get("volumetric") else slices) * settings.get("with_images", False)
    encoder = net_of(background=0.0, channels=slices)
    dims = 3 if settings.get("volumetric") else 2
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    return FusedAnatomyNet(encoder, nn.Sequential(conv(channels, 5, 1), nn.Dropout(0.5)), **settings)


def volume_of(rows=2, depth=5, seed=0):
    return torch.rand(rows, 3, 64, 32, depth, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pools", [("max", "mean", "min"), ("mean",)])
def test_the_task_sees_the_pooled_anatomies(pools):
    net = fused_of(pools=pools).eval()
    image = image_of(net.encoder)
    factors = net.encoder.factors(image, PRESENT)
    expected = net.encoder.fuse(factors, pools)
    torch.testing.assert_close(net.inputs(image, PRESENT), expected)
    torch.testing.assert_close(net(image, PRESENT), net.task(expected))


def test_images_beside_the_anatomies():
    net = fused_of(with_images=True, channels=3).eval()
    image = image_of(net.encoder)
    found = net.inputs(image, PRESENT)
    torch.testing.assert_close(found[:, :12], net.encoder.fuse(net.encoder.factors(image, PRESENT)))
    kept = PRESENT.repeat_interleave(3, 1)[..., None, None]
    torch.testing.assert_close(found[:, 12:], torch.where(kept, image, 0), rtol=0, atol=0)
    assert net(image, PRESENT).isfinite().all()


def test_volumes_beside_the_anatomies():
    net = fused_of(with_images=True, volumetric=True).eval()
    volume = volume_of()
    volume[0, 1] = NAN
    found = net.inputs(volume, torch.tensor([[True, True, True], [True, True, False]]))
    assert found.shape == (2, 15, 64, 32, 5)
    assert (found[0, 13] == 0).all()
    assert (found[1, 14] == 0).all()
    torch.testing.assert_close(found[0, 12], volume[0, 0], rtol=0, atol=0)


def test_dropout_of_the_task():
    assert fused_of().task[1].p == 0.5
    assert fused_of(dropout=0.2).task[1].p == 0.2
    with pytest.raises(ValueError, match="needs dropout layers, got 0.2 for Conv2d with 0 of them"):
        FusedAnatomyNet(net_of(background=0.0), nn.Conv2d(12, 5, 1), dropout=0.2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("chunk", [2, 16])
def test_volumes_slice_by_slice(channels, chunk):
    net = fused_of(channels=channels, volumetric=True, chunk=chunk).eval()
    volume = volume_of()
    found = net.inputs(volume, PRESENT)
    assert found.shape == (2, 12, 64, 32, 5)
    half = channels // 2
    for place in range(5):
        near = [min(max(place + k, 0), 4) for k in range(-half, half + 1)]
        slices = volume[..., near].movedim(-1, 2).flatten(1, 2)
        factors = net.encoder.factors(slices, PRESENT)
        torch.testing.assert_close(found[..., place], pool_anatomies(factors.anatomy, PRESENT), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("volumetric", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_any_subset(volumetric, training):
    net = fused_of(volumetric=volumetric).train(training)
    net.task[1].p = 0.0
    image = volume_of(1) if volumetric else image_of(net.encoder, 1)
    for count in (1, 2, 3):
        for there in combinations(range(3), count):
            present = torch.zeros(1, 3, dtype=torch.bool)
            present[0, list(there)] = True
            expected = net(image, present)
            for filling in (0.0, 7.0, NAN):
                other = image.clone()
                other[:, [m for m in range(3) if m not in there]] = filling
                torch.testing.assert_close(net(other, present), expected)
            assert expected.isfinite().all()
            torch.testing.assert_close(net(other), expected)  # NaN alone says so
    image[:, 1].view(-1)[0] = NAN  # in one pixel of one slice
    present = torch.tensor([[True, False, True]])
    torch.testing.assert_close(net(image), net(image.nan_to_num(), present))
    assert not net.inputs(image, present & False).any()


def test_training_mode_gives_what_evaluation_mode_gives():
    net = fused_of(volumetric=True)
    volume = volume_of()
    torch.testing.assert_close(net.train().inputs(volume, PRESENT), net.eval().inputs(volume, PRESENT))


def step(net, image, present=PRESENT):
    net.train()
    adam = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 0.1)
    net(image, present).square().mean().backward()
    adam.step()


@pytest.mark.parametrize("volumetric", [False, True])
def test_frozen(volumetric):
    """Parameters and buffers: running statistics and mean codes too."""
    net = fused_of(volumetric=volumetric)
    before, task = copy.deepcopy(net.encoder.state_dict()), copy.deepcopy(net.task.state_dict())
    assert any("running_mean" in name for name in before)
    assert "mean_code" in before
    step(net, volume_of() if volumetric else image_of(net.encoder))
    after = net.encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert any(not torch.equal(net.task.state_dict()[name], value) for name, value in task.items())
    assert net.training
    assert not net.encoder.training
    assert not any(p.requires_grad for p in net.encoder.parameters())
    assert all(p.grad is None for p in net.encoder.parameters())


def test_fine_tuning():
    net = fused_of(frozen=False)
    before = copy.deepcopy(net.encoder.state_dict())
    step(net, image_of(net.encoder))
    after = net.encoder.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert any("running_mean" in name for name in changed)
    assert {name.split(".")[0] for name in changed} == {"anatomy_encoders"}
    assert all(p.grad is not None for p in net.encoder.anatomy_encoders.parameters())


def test_what_is_absent_does_not_reach_running_statistics():
    nets = [fused_of(frozen=False) for _ in range(2)]
    image, start = image_of(nets[0].encoder), copy.deepcopy(nets[0].state_dict())
    for net, filling in zip(nets, (0.0, 9.0), strict=True):
        other = image.view(2, 3, 1, 64, 32).clone()
        other[~PRESENT] = filling
        net.load_state_dict(start)
        net.train()(other.flatten(1, 2), PRESENT)
    for name, value in nets[0].state_dict().items():
        torch.testing.assert_close(nets[1].state_dict()[name], value)


def test_weights_of_the_encoder(tmp_path):
    net, other = fused_of(), fused_of()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    torch.save(other.encoder.state_dict(), tmp_path / "encoder.pt")
    torch.save(other.state_dict(), tmp_path / "whole.pt")
    for name in ("encoder.pt", "whole.pt"):
        fresh = fused_of()
        fresh.load_encoder(tmp_path / name)
        torch.testing.assert_close(fresh.encoder.state_dict(), other.encoder.state_dict())
    with pytest.raises(FileNotFoundError, match=r"the encoder's weights .*none.pt are not there"):
        net.load_encoder(tmp_path / "none.pt")
    torch.save(fused_of(channels=3).encoder.state_dict(), tmp_path / "wide.pt")
    with pytest.raises(ValueError, match=r"wide.pt must hold weights of the encoder .*'t1', 't2', 'flair'"):
        net.load_encoder(tmp_path / "wide.pt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace.*:DeprecationWarning")
@pytest.mark.parametrize("volumetric", [False, True])
def test_export(volumetric):
    net = fused_of(volumetric=volumetric).eval()
    image = volume_of(1, 2) if volumetric else image_of(net.encoder, 1)
    image[:, 1] = NAN
    with torch.no_grad():
        expected = net(image)
        torch.testing.assert_close(torch.export.export(net, (image,)).module()(image), expected)
        torch.testing.assert_close(torch.jit.trace(net, (image,), check_trace=False)(image), expected)


def test_messages():
    with pytest.raises(ValueError, match="pools must be of"):
        fused_of(pools=("max", "sum", "min"))
    with pytest.raises(ValueError, match="volumetric needs an encoder of slices with an odd number"):
        FusedAnatomyNet(net_of(channels=2), nn.Identity(), volumetric=True)
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        fused_of(chunk=0)
    with pytest.raises(ValueError, match=r"image must have the shape \(B, 3, H, W, D\)"):
        fused_of(volumetric=True)(torch.zeros(1, 3, 64, 32))
    with pytest.raises(ValueError, match=r"present must have the shape \(2, 3\)"):
        fused_of(volumetric=True)(volume_of(), PRESENT[:1])
