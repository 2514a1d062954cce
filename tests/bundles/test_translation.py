# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Translation in two runs: MUNIT and the datalist that it redraws, then an ordinary U-Net on that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.data import read_datalist
from tests.bundles.runs import DAFNET, TRANSLATION, run, shapes

PHASES = {"discriminator/least_squares", "generator/adversarial", "generator/image", "generator/style"}


@pytest.fixture
def stage_one(trained, heart):
    return trained(TRANSLATION, heart)


def test_training_makes_the_last_model(stage_one):
    out, workflow = stage_one
    metrics = workflow.trainer.state.metrics
    assert set(metrics) > PHASES
    assert all(np.isfinite(value) for value in metrics.values())
    assert set(workflow.evaluator.state.metrics) == {"val_cycle_psnr"}
    saved = torch.load(out / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(value, saved[name]) for name, value in workflow.network_def.state_dict().items())


def test_paper_size_is_that_of_the_sheet():
    with torch.device("meta"):
        config = TRANSLATION.parser("train", device="meta")
        parts = [config.get_parsed_content(f"objective_def#{one}") for one in ("network", "discriminators")]
    assert sum(p.numel() for part in (parts[0], *parts[1]) for p in part.parameters()) == 46_544_792
    assert shapes(parts[1][0]) == shapes(parts[1][1])
    assert parts[1][0] is not parts[1][1]


@pytest.mark.parametrize("representation", ["target", "content"])
def test_a_unet_trains_on_what_was_redrawn(representation, stage_one, heart, tmp_path):
    """The second stage is a bundle as it is, told where the new datalist lies."""
    out, _ = stage_one
    own = {"representation": representation, "target_fraction": 0.0, "output_dir": str(tmp_path / "new")}
    run(TRANSLATION.load(("inference", "translate"), tmp_path, heart, ckpt_dir=str(out / "models"), **own))
    listed = read_datalist(tmp_path / "new" / "datalist.json")
    assert len(listed.items("training")) == 8
    assert len(listed.items("test")) == (2 if representation == "target" else 4)
    settings = ["unet_target"] if representation == "target" else ["unet_both", "target_0"]
    workflow = DAFNET.train(tmp_path / "two", tmp_path / "new", *settings)
    assert workflow.trainer.state.iteration == 2
    assert workflow.trainer.state.metrics["segmentation/supervised"] > 0


def test_a_unet_trains_on_contents_of_the_encoders(stage_one, heart, tmp_path):
    """They stay as they were trained, find their sizes by themselves, and serve the target without labels."""
    out, first = stage_one
    path = out / "models" / "model.pt"
    workflow = DAFNET.train(
        tmp_path, heart, "dadr_features", "target_0", stage_one=str(path), modalities=["lge", "cine"]
    )
    network = workflow.network_def.network
    own = [first.network_def.generator(name).content.state_dict() for name in ("lge", "cine")]
    for encoder, wanted in zip(network.encoders, own, strict=True):
        torch.testing.assert_close(encoder.state_dict(), wanted, rtol=0, atol=0)
    assert workflow.trainer.state.metrics["segmentation/supervised"] > 0
    assert list(DAFNET.infer(tmp_path, heart, ckpt_dir=str(tmp_path / "models"), target="lge"))


def test_images_redrawn_as_either_modality(stage_one, heart, tmp_path):
    out, _ = stage_one
    ckpt_dir = str(out / "models")
    volumes = TRANSLATION.infer(tmp_path, heart, ckpt_dir=ckpt_dir, target="cine")
    assert len(volumes) == 4
    assert all(name.endswith("_as_cine.nii.gz") for name in volumes)
    assert all(0 <= volume.get_fdata().min() <= volume.get_fdata().max() <= 1000 for volume in volumes.values())


def test_the_cycle_is_evaluated(stage_one, heart):
    out, _ = stage_one
    assert TRANSLATION.evaluate(out, heart).is_dir()
