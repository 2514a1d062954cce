# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The PET bundle behind the disentangled anatomies: trained, scored and used with missing sequences."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from monai_mmseg.bundle import check_overrides
from monai_mmseg.networks.nets import AttentionGatedUNet, FusedAnatomyNet, ImputedModalitiesNet
from tests.bundles.downstream_runs import ENCODER, PET, make_brain, shapes

SUBSETS = [["t1", "t1gd", "t2", "flair"], ["flair"]]


@pytest.fixture(scope="module", autouse=True)
def _on_the_cpu():
    """Small networks, and numbers that are compared: a GPU would give others."""
    patch = pytest.MonkeyPatch()
    patch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    return make_brain(tmp_path_factory.mktemp("brain") / "data")


@pytest.fixture(scope="module")
def run(brain, tmp_path_factory):
    """The method, trained for two iterations, and the encoder that it started from."""
    out = tmp_path_factory.mktemp("run")
    path, encoder = PET.stage_one(out)
    return out, PET.train(out, brain, stage_one=str(path), batch_size=4), encoder


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


def test_evaluation(run, brain):
    folder = PET.evaluate(run[0], brain, tested_subsets=SUBSETS)
    assert "psnr" in (folder / "subsets.json").read_text(encoding="utf-8")
    assert (folder / "report.html").is_file()
    assert [path.name for path in (folder / "predictions").iterdir()] == ["s04_t1_pet.nii.gz"]


@pytest.mark.parametrize(("sources", "grid"), [(["t1", "t1gd", "t2", "flair"], "t1"), (["t2"], "t2")])
def test_inference_with_missing_sequences(sources, grid, run, brain, tmp_path):
    volumes = PET.infer(tmp_path, brain, sources=sources, ckpt_dir=str(run[0] / "models"))
    (name,) = volumes
    assert name == f"s04_{grid}_pet.nii.gz"
    image = nib.load(brain / "images" / f"s04_{grid}.nii.gz")
    assert volumes[name].shape == image.shape
    np.testing.assert_allclose(volumes[name].affine, image.affine, atol=1e-4)
    values = np.asarray(volumes[name].dataobj)
    assert np.isfinite(values).all()
    assert values.max() > 100


@pytest.mark.parametrize("setting", PET.settings)
def test_settings(setting):
    """Nothing is misspelt, and training and inference build the same network."""
    check_overrides(PET.files("train", "demo", setting), {})
    check_overrides(PET.files("inference", "demo_inference", setting), {})
    small = {**ENCODER, **PET.network}
    config = PET.parser("train", "demo", setting, **small)
    trained = config.get_parsed_content("network_def")
    used = PET.parser("inference", "demo_inference", setting, **small).get_parsed_content("network_def")
    assert shapes(trained) == shapes(used)
    assert isinstance(trained, ImputedModalitiesNet if setting.startswith("standard") else FusedAnatomyNet)
    config.get_parsed_content("optimizers")
    channels = {"standard": 12, "pools": 4}.get(setting.split("_")[0], 12)
    assert trained.task(torch.zeros(1, channels, 32, 32)).shape == (1, 1, 32, 32)
    assert ("gates.0.skip.weight" in trained.task.state_dict()) == (setting != "without_gates")


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["standard_zero", "standard_average", "finetune"])
def test_settings_train(setting, brain, tmp_path):
    path, _ = PET.stage_one(tmp_path)
    PET.train(tmp_path, brain, setting, stage_one=str(path))
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert ("average" in state) == (setting == "standard_average")
    if "average" in state:  # four sequences, three slices each, 160 mm
        assert state["average"].shape[:3] == (12, 32, 32)
        assert state["average"].shape[3] == round(160 / ENCODER["pixdim"][2])
    volumes = PET.infer(tmp_path / "out", brain, setting, sources=["flair"], ckpt_dir=str(tmp_path / "models"))
    assert list(volumes) == ["s04_flair_pet.nii.gz"]


def test_the_encoder_is_that_of_the_first_stage():
    """At full size and in the demo, so that its weights fit."""
    for names in (("train",), ("train", "demo")):
        own = PET.parser(*names).get_parsed_content("encoder_def")
        config = ConfigParser()
        config.read_config([str(PET.configs.parents[1] / "disentangle" / "configs" / f"{n}.json") for n in names])
        assert shapes(own) == shapes(config.get_parsed_content("network_def"))


def test_metadata():
    meta = json.loads((PET.configs / "metadata.json").read_text(encoding="utf-8"))["network_data_format"]
    config = PET.parser("train")
    names = [f"{m}, {s}" for m in config["modalities"] for s in ("slice 1 before", "slice", "slice 1 behind")]
    assert list(meta["inputs"]["image"]["channel_def"].values()) == names
    assert meta["inputs"]["image"]["spatial_shape"] == config["spatial_size"]
    with torch.device("meta"):
        task = config.get_parsed_content("task_def")
    # the paper's network, less an idle normalisation of two numbers
    assert sum(p.numel() for p in task.parameters()) == 14_775_111 - 2
