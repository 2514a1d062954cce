# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The PET bundle behind the disentangled anatomies: trained, scored and used with missing sequences."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_mmseg.networks.nets import AttentionGatedUNet, FusedAnatomyNet, ImputedModalitiesNet
from tests.bundles.runs import PET

SUBSETS = [["t1", "t1gd", "t2", "flair"], ["flair"]]


@pytest.fixture(scope="module")
def run(brain_with_pet, tmp_path_factory):
    """The method, trained for two iterations, and the encoder that it started from."""
    out = tmp_path_factory.mktemp("run")
    path, encoder = PET.stage_one(out)
    return out, PET.train(out, brain_with_pet, stage_one=str(path), batch_size=4), encoder


def test_training_leaves_the_encoder_alone_and_keeps_it(run):
    out, workflow, encoder = run
    metrics = workflow.trainer.state.metrics
    assert set(metrics) == {"synthesis/absolute", "synthesis/squared", "synthesis/total"}
    assert metrics["synthesis/absolute"] > 0
    assert np.isfinite(workflow.evaluator.state.metrics["val_psnr"])
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    for name, value in encoder.state_dict().items():
        assert torch.equal(state[f"encoder.{name}"], value), name
    assert isinstance(workflow.network_def.task, AttentionGatedUNet)


def test_the_target_is_no_input(run):
    dataset = run[1].parser.get_parsed_content("train#dataset")
    sample = dataset[0]
    assert sample["image"].shape == (12, 32, 32)
    assert sample["target"].shape == (1, 32, 32)
    assert sample["target"].isfinite().all()
    assert sample["target"].any()
    assert sample["present"].shape == (4,)
    assert sample["labelled"].item()


def test_evaluation(run, brain_with_pet):
    folder = PET.evaluate(run[0], brain_with_pet, tested_subsets=SUBSETS)
    assert "psnr" in (folder / "subsets.json").read_text(encoding="utf-8")
    assert (folder / "report.html").is_file()
    assert [path.name for path in (folder / "predictions").iterdir()] == ["s04_t1_pet.nii.gz"]


@pytest.mark.parametrize(("sources", "grid"), [(["t1", "t1gd", "t2", "flair"], "t1"), (["t2"], "t2")])
def test_inference_with_missing_sequences(sources, grid, run, brain_with_pet, tmp_path):
    volumes = PET.infer(tmp_path, brain_with_pet, sources=sources, ckpt_dir=str(run[0] / "models"))
    (name,) = volumes
    assert name == f"s04_{grid}_pet.nii.gz"
    image = nib.load(brain_with_pet / "images" / f"s04_{grid}.nii.gz")
    assert volumes[name].shape == image.shape
    np.testing.assert_allclose(volumes[name].affine, image.affine, atol=1e-4)
    values = np.asarray(volumes[name].dataobj)
    assert np.isfinite(values).all()
    assert values.max() > 100


@pytest.mark.parametrize("setting", PET.settings)
def test_settings(setting):
    config = PET.parser("train", "demo", setting, small=True)
    network = config.get_parsed_content("network_def")
    assert isinstance(network, ImputedModalitiesNet if setting.startswith("standard") else FusedAnatomyNet)
    assert len(config.get_parsed_content("optimizers")["synthesis"].param_groups) == 1 + (setting == "finetune")
    assert network.task(torch.zeros(1, 12, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("overrides", "channels", "gates"),
    [({}, 12, True), ({"pools": ["mean"]}, 4, True), ({"task_def#gates": False}, 12, False)],
)
def test_pools_and_gates(overrides, channels, gates):
    network = PET.parser("train", "demo", small=True, **overrides).get_parsed_content("network_def")
    assert network.task(torch.zeros(1, channels, 32, 32)).shape == (1, 1, 32, 32)
    assert ("gates.0.skip.weight" in network.task.state_dict()) == gates


@pytest.mark.slow
def test_averages_are_trained_with_and_kept(brain_with_pet, tmp_path):
    """Four sequences, three slices each, 160 mm."""
    names, path = ("standard_average",), PET.stage_one(tmp_path)[0]
    PET.train(tmp_path, brain_with_pet, *names, stage_one=str(path))
    average = torch.load(tmp_path / "models" / "model.pt", weights_only=True)["average"]
    assert average.shape == (12, 32, 32, round(160 / PET.network["pixdim"][2]))
    volumes = PET.infer(tmp_path / "out", brain_with_pet, *names, sources=["flair"], ckpt_dir=str(tmp_path / "models"))
    assert list(volumes) == ["s04_flair_pet.nii.gz"]


def test_metadata():
    meta = PET.content("metadata")["network_data_format"]
    config = PET.parser("train")
    names = [f"{m}, {s}" for m in config["modalities"] for s in ("slice 1 before", "slice", "slice 1 behind")]
    assert list(meta["inputs"]["image"]["channel_def"].values()) == names
    with torch.device("meta"):
        task = config.get_parsed_content("task_def")
    # the paper's network, less an idle normalisation of two numbers
    assert sum(p.numel() for p in task.parameters()) == 14_775_111 - 2
