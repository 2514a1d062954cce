# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Samples: changed back where they were changed, bounded, and nothing of the network is left otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_mmseg.inferers import ModalitySliceInferer, SampledInferer, WindowInferer
from monai_mmseg.inferers.samples import KINDS, redrawn
from monai_mmseg.networks.nets import DAFNet, DisentangleNet, ImputedModalitiesNet

IMAGE = torch.rand(1, 2, 16, 16, 3, generator=torch.Generator().manual_seed(1))


def plane(image, **_):
    """Two classes by voxel: commutes with every move."""
    return torch.cat([image[:, :1], 1 - image[:, :1]], 1) * 4


def slices(size=16):
    return ModalitySliceInferer(roi_size=(size, size), spatial_dim=2)


@pytest.fixture(scope="module")
def dafnet():
    torch.manual_seed(0)
    net = DAFNet(2, 1, 3, modalities=("a", "b"), target="b", spatial_size=(32, 32), features=(4, 8), anatomy_gain=10)
    return net.eval()


@pytest.mark.parametrize("inferer", [slices(), WindowInferer(roi_size=(16, 16, 3))], ids=["2d", "3d"])
@pytest.mark.parametrize("kind", ["shift", "mirror"])
def test_a_network_of_single_voxels_agrees_with_itself(kind, inferer):
    found = SampledInferer(inferer, [kind])(IMAGE, plane)
    logits = inferer(IMAGE, plane)
    assert torch.equal(found["pred"], logits)
    assert found["pairwise_dice"].tolist() == [[1, 1]]
    p = logits.softmax(1)
    torch.testing.assert_close(found["uncertainty"], -(p * p.log2()).sum(1, keepdim=True))  # K = 2: bits


def test_checkpoints_of_one_name_are_told_apart(tmp_path):
    files = [tmp_path / fold / "model.pt" for fold in ("fold1", "fold2")]
    for number, file in enumerate(files):
        file.parent.mkdir()
        torch.save({"weight": torch.full((1,), number)}, file)
    told = [SampledInferer(slices(), [], checkpoints=[str(file)]).description for file in files]
    assert told[0] != told[1]  # a line that was fitted with one of them does not hold for the other
    assert all(text.startswith("model.pt ") and text.endswith(", labels of network") for text in told)


def test_mean_pairs_and_labels_of_three_checkpoints(tmp_path):
    """Three constant networks: classes 0, 1, 1 everywhere."""
    net = nn.Conv2d(1, 2, 1)
    states = {
        name: {"weight": torch.zeros(2, 1, 1, 1), "bias": torch.tensor(bias)}
        for name, bias in {"own": [2.0, 0.0], "b": [0.0, 3.0], "c": [0.0, 1.0]}.items()
    }
    torch.save(states["b"], tmp_path / "b.pt")
    torch.save({"model": states["c"]}, tmp_path / "c.pt")
    net.load_state_dict(states["own"])
    files = [str(tmp_path / "b.pt"), str(tmp_path / "c.pt")]
    found = SampledInferer(slices(), [], checkpoints=files)(IMAGE[:, :1], net)
    probs = torch.stack([states[name]["bias"].softmax(0) for name in states]).mean(0)
    assert found["pairwise_dice"].tolist() == [[pytest.approx(1 / 3)] * 2]  # of three pairs one agrees
    assert found["expected_dice"][0, 0].item() == pytest.approx(2 * probs[0].item() / (probs[0].item() + 1))
    assert found["pred"].argmax(1).unique().tolist() == [0]
    assert torch.equal(net.bias, states["own"]["bias"])
    mean = SampledInferer(slices(), [], checkpoints=files, labels_of="mean")(IMAGE[:, :1], net)["pred"]
    torch.testing.assert_close(mean.softmax(1)[0, :, 0, 0, 0], probs)
    assert mean.argmax(1).unique().tolist() == [1]


def test_contrast_leaves_absent_ones_absent_and_means_in_place():
    seen = []
    image = IMAGE.clone()
    image[:, 1] = torch.nan

    def network(volume, **_):
        seen.append(volume)
        return plane(volume)

    SampledInferer(lambda volume, net: net(volume), ["contrast"])(image, network)
    assert len(seen) == 5
    assert all(volume[:, 1].isnan().all() and not volume[:, 0].isnan().any() for volume in seen)
    means = [volume[:, 0].mean().item() for volume in seen]
    deviation = IMAGE[:, 0].std(correction=0).item()
    assert means == pytest.approx([means[0]] * 3 + [means[0] + 0.2 * deviation, means[0] - 0.2 * deviation], abs=1e-5)


def test_contrast_leaves_what_a_network_takes_for_nothing():
    """A network that finds the head by the value around it took a brighter image for a head without an end."""
    small = {"anatomy_features": (4, 8, 8, 8, 8), "decoder_features": (8, 8, 8, 8, 4, 4, 2)}
    net = DisentangleNet(2, 1, modalities=("a", "b"), target="b", spatial_size=(64, 32), background=0.0, **small)
    image, seen = IMAGE.clone(), []
    image[:, :, :8] = 0.0
    image[:, 1] = torch.nan
    SampledInferer(lambda volume, _: (seen.append(volume), plane(volume))[1], ["contrast"])(image, net)
    assert len(seen) == 5
    assert all((volume[:, 0, :8] == 0).all() and volume[:, 1].isnan().all() for volume in seen)
    means = [volume[:, 0, 8:].mean().item() for volume in seen]
    deviation = IMAGE[:, 0, 8:].std(correction=0).item()
    assert means == pytest.approx([means[0]] * 3 + [means[0] + 0.2 * deviation, means[0] - 0.2 * deviation], abs=1e-5)


@pytest.mark.parametrize(("absent", "count"), [(None, 2), (0, 0)])
def test_subsets_leave_out_what_is_there(absent, count):
    net = ImputedModalitiesNet(nn.Conv2d(2, 2, 1), ("a", "b")).eval()
    image = IMAGE.clone()
    if absent is not None:
        image[:, absent] = torch.nan
    calls = []
    inferer = slices()

    def counting(volume, network):
        calls.append(volume.isnan().flatten(2).all(2)[0].tolist())
        return inferer(volume, network)

    found = SampledInferer(counting, ["subsets"])(image, net)
    assert calls[1:] == [[True, False], [False, True]][:count]
    assert found["pairwise_dice"].isnan().all().item() is (count == 0)  # one sample has no pair


def test_dropout_is_drawn_alike_and_put_back():
    net = nn.Sequential(nn.Conv2d(2, 8, 1), nn.Dropout(0.5), nn.Conv2d(8, 2, 1)).eval()
    before = torch.random.get_rng_state()
    infer = SampledInferer(slices(), ["dropout"], draws=2)
    first, second = infer(IMAGE, net), infer(IMAGE, net)
    assert torch.equal(first["uncertainty"], second["uncertainty"])
    assert torch.equal(first["pred"], slices()(IMAGE, net))
    assert (first["pairwise_dice"] < 1).any()
    assert torch.equal(before, torch.random.get_rng_state())
    assert not any(module.training for module in net.modules())


@torch.no_grad()
def test_dafnet_is_sampled_by_anatomies_and_styles(dafnet):
    image = torch.rand(1, 2, 32, 32, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1
    found = SampledInferer(slices(32), ["anatomies", "style"], draws=1)(image, dafnet)
    assert dafnet.inference == "fused"
    assert torch.equal(found["pred"], slices(32)(image, dafnet))
    assert found["uncertainty"].isfinite().all()
    drawn = redrawn(dafnet, image[..., 0], torch.zeros(2, 8))
    anatomy = dafnet.anatomy(image[:, 1:, :, :, 0], 1)
    expected = dafnet.decode(anatomy, dafnet.style(anatomy, image[:, 1:, :, :, 0]).mu)
    torch.testing.assert_close(drawn[:, 1:], expected)


ERRORS = [
    ({"samples": ["shfit"]}, "Did you mean 'shift'"),
    ({"samples": []}, "at least one, got neither"),
    ({"labels_of": "all"}, "labels_of must be 'network' or 'mean'"),
    ({"draws": 0}, "draws must be at least 1"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SampledInferer(slices(), **arguments)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("subsets", "several modalities"), ("dropout", "drop-out"), ("anatomies", "a DAFNet"), ("style", "a DAFNet")],
)
def test_a_network_that_does_not_fit(kind, wanted):
    assert kind in KINDS
    with pytest.raises(ValueError, match=f"samples '{kind}' need .*{wanted}.*leave '{kind}' out"):
        SampledInferer(slices(), [kind])(IMAGE, nn.Conv2d(2, 2, 1))


def test_a_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        SampledInferer(slices(), checkpoints=[str(tmp_path / "no.pt")])
