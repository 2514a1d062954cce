# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.inferers import SlidingWindowInferer

from monai_mmseg.evaluation import Score, ScoreTable, label_scores
from monai_mmseg.report import describe_synthesis, downstream, score_subsets
from monai_mmseg.runs import RunRecorder
from tests.networks.nets.disentangle.test_fused_anatomy_net import fused_of


def test_every_subset():
    net = fused_of(volumetric=True)
    samples = [
        {"image": torch.rand(3, 64, 32, 4), "label": torch.randint(5, (1, 64, 32, 4)), "subject": f"s{n}"}
        for n in range(2)
    ]
    samples[1]["image"][0] = torch.nan
    names = {0: "background", 1: "necrosis", 2: "oedema", 3: "enhancing", 4: "other"}
    inferer = SlidingWindowInferer((64, 32, 4), sw_batch_size=1)
    table = score_subsets(net, inferer, samples, net.modalities, label_scores(names, spacing=(1, 1, 1)), method="ours")
    assert not net.training
    assert len(table) == (7 + 3) * 4  # classes
    assert all(0 <= score.values["dice"] <= 1 for score in table)


def test_picture_of_what_is_made(tmp_path, monkeypatch):
    given = {}

    def figure(images, reconstructions, notes, title):
        given.update(images=images, reconstructions=reconstructions, notes=notes)
        return real(images, reconstructions, notes=notes, title=title)

    real = downstream.cross_reconstruction_figure
    monkeypatch.setattr(downstream, "cross_reconstruction_figure", figure)
    names = ["t1", "t2"]
    samples = [
        {"image": torch.rand(2, 16, 16, 4), "label": torch.rand(1, 16, 16, 4), "subject": f"s{n}"} for n in range(3)
    ]
    samples[0]["image"][1] = torch.nan  # has fewer than the others
    samples[1]["label"][..., :8, :, 2:] = 0
    scores = ScoreTable([Score("ours", "s1", {"subset": "t2"}, {"psnr": 20.04, "ssim": 0.5})])

    def mean_of_what_is_there(image, network):
        return image.nanmean(1, keepdim=True)

    recorder = RunRecorder(tmp_path, name="ours", method="ours", modality="t1")
    net = torch.nn.Identity()
    describe_synthesis(recorder, net, mean_of_what_is_there, samples, names, scores, background=0.0, target="PET")
    assert list(given["images"]) == ["s1", "s2"]
    assert len(given["reconstructions"]) == 2 * 3
    torch.testing.assert_close(given["reconstructions"]["all but t1", "s1"], samples[1]["image"][1, ..., 0])
    assert given["notes"] == {("all but t1", "s1"): "20.0 / 0.50"}
    assert (tmp_path / "figures" / "synthesis.png").is_file()
    with pytest.raises(ValueError, match="at least one subject"):
        describe_synthesis(recorder, net, mean_of_what_is_there, [], names)
