# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.losses import class_affinities
from monai_mmseg.networks.layers import FeatureTaps, convert_modality_norm
from monai_mmseg.report import describe_affinities
from monai_mmseg.runs import RunRecorder

LABELS = {"0": "background", "1": "LV", "2": "RV"}
MODALITIES = ["lge", "bssfp"]


def network():
    torch.manual_seed(0)
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 1)
    )
    return convert_modality_norm(plain, MODALITIES)


def sample(modality, depth=5, **more):
    label = torch.zeros(1, 12, 12, depth)
    label[:, 2:6, 2:6, 1:] = 1
    label[:, 6:9, 6:9, 2:4] = 2
    return {"image": torch.rand(1, 12, 12, depth) + label, "label": label, "modality": modality, **more}


def test_figures_and_matrices(tmp_path):
    net = network().train()
    samples = [sample("lge"), sample("lge"), sample("bssfp"), sample("bssfp", labelled=False)]
    with RunRecorder(tmp_path, "trial") as recorder:
        found = describe_affinities(
            recorder, net, samples, layer_pairs=[("0", "2")], modalities=MODALITIES, labels=LABELS, per_volume=2
        )
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} == {"affinity_0.png", "class_features.png"}
    assert net.training
    net.eval()
    with FeatureTaps(net, ["0", "2"]) as taps:
        net(samples[2]["image"].movedim(-1, 0)[2:4], "bssfp")  # its two slices with both classes
    expected = class_affinities(
        [taps["0"]], [taps["2"]], [samples[2]["label"].movedim(-1, 0)[2:4]], 3, size_norm="none"
    )
    torch.testing.assert_close(found["0 - 2"].matrices[1], expected.matrices[0].detach())
    assert found["0 - 2"].rows.tolist() == [4, 2]


def test_windows_of_a_3d_network(tmp_path):
    """Half-overlapping windows; the one with most foreground of each volume is what the network gets."""
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.Conv3d(4, 3, 2, stride=2))
    samples = [sample("lge", depth=6), sample("bssfp", depth=9)]
    samples[1]["label"][..., :6] = 0  # what is left of it: the window of slices 4 to 7
    with RunRecorder(tmp_path, "trial") as recorder:
        found = describe_affinities(
            recorder,
            plain,
            samples,
            layer_pairs=[("0", "1")],
            modalities=MODALITIES,
            labels=LABELS,
            spatial_size=(12, 12, 4),
            per_volume=1,
        )["0 - 1"]
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} == {"affinity_0.png", "class_features.png"}
    window = slice(4, 8)
    with FeatureTaps(plain, ["0", "1"]) as taps, torch.no_grad():
        plain(samples[1]["image"][None, ..., window])
    expected = class_affinities([taps["0"]], [taps["1"]], [samples[1]["label"][None, ..., window]], 3, size_norm="none")
    torch.testing.assert_close(found.matrices[1], expected.matrices[0])
    assert found.rows.tolist() == [1, 1]


def test_nothing_to_show(tmp_path):
    with RunRecorder(tmp_path, "trial") as recorder:
        found = describe_affinities(
            recorder,
            network(),
            [sample("lge", labelled=False)],
            layer_pairs=[("0", "2")],
            modalities=MODALITIES,
            labels=LABELS,
        )
    assert found == {}
    assert not (tmp_path / "figures").exists()


def test_unknown_module(tmp_path):
    with RunRecorder(tmp_path, "trial") as recorder, pytest.raises(ValueError, match="no module 'group_9'"):
        describe_affinities(
            recorder,
            network(),
            [sample("lge")],
            layer_pairs=[("group_9", "2")],
            modalities=MODALITIES,
            labels=LABELS,
        )
