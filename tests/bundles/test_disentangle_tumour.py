# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The tumour bundle behind the disentangled anatomies: trained, scored and used with missing sequences."""

from __future__ import annotations

import json
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from monai_mmseg.bundle import pack_bundle
from monai_mmseg.networks.nets import FusedAnatomyNet, ImputedModalitiesNet, NVNet
from tests.bundles.runs import TUMOUR

SUBSETS = [["t1", "t1gd", "t2", "flair"], ["flair"]]


@pytest.fixture(scope="module")
def run(brain_with_pet, tmp_path_factory):
    """The method, trained for two iterations, and the encoder that it started from."""
    out = tmp_path_factory.mktemp("run")
    path, encoder = TUMOUR.stage_one(out)
    return out, TUMOUR.train(out, brain_with_pet, stage_one=str(path), picture=True, final_model="last.pt"), encoder


def test_the_demo_keeps_its_last_network():
    config = TUMOUR.parser("train", "demo")
    assert config["final_model"] == "model.pt"
    assert TUMOUR.parser("train")["final_model"] == "last.pt"


def test_training_leaves_the_encoder_alone_and_keeps_it(run):
    out, workflow, encoder = run
    metrics = workflow.trainer.state.metrics
    assert set(metrics) == {f"segmentation/{t}" for t in ("dice", "cross_entropy", "reconstruction", "kl", "total")}
    assert all(np.isfinite(value) for value in metrics.values())
    assert 0 <= workflow.evaluator.state.metrics["val_mean_dice"] <= 1
    assert sorted(path.name for path in (out / "models").iterdir()) == [
        "last.pt",
        "model.pt",
        "resume.pt",
        "settings.json",
    ]
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    for name, value in encoder.state_dict().items():
        assert torch.equal(state[f"encoder.{name}"], value), name
    assert isinstance(workflow.network_def.task, NVNet)


def test_evaluation(run, brain_with_pet):
    out = run[0]
    folder = TUMOUR.evaluate(out, brain_with_pet, tested_subsets=SUBSETS, paper_dice=True)
    rows = json.loads((folder / "subsets.json").read_text(encoding="utf-8"))
    assert "oedema" in json.dumps(rows)
    assert (folder / "report.html").is_file()
    (table,) = (folder / "metrics").glob("*.md")
    assert "| Dice as in the paper |" in table.read_text(encoding="utf-8")
    prediction = nib.load(folder / "predictions" / "s04_t1_seg.nii.gz")
    label = nib.load(brain_with_pet / "labels" / "s04_t1.nii.gz")
    assert prediction.shape == label.shape
    np.testing.assert_allclose(prediction.affine, label.affine, atol=1e-4)


@pytest.mark.parametrize(("sources", "grid"), [(["t1", "t1gd", "t2", "flair"], "t1"), (["flair", "t2"], "t2")])
def test_inference_with_missing_sequences(sources, grid, run, brain_with_pet, tmp_path):
    volumes = TUMOUR.infer(tmp_path, brain_with_pet, sources=sources, ckpt_dir=str(run[0] / "models"))
    (name,) = volumes
    assert name == f"s04_{grid}_seg.nii.gz"
    image = nib.load(brain_with_pet / "images" / f"s04_{grid}.nii.gz")
    assert volumes[name].shape == image.shape
    np.testing.assert_allclose(volumes[name].affine, image.affine, atol=1e-4)
    assert set(np.unique(np.asarray(volumes[name].dataobj))) <= {0, 1, 2, 3}


def test_one_file_of_all_sequences(run, tmp_path):
    """As MONAI Label hands it over: a 4D file, an absent sequence is NaN, and a label beside it."""
    stack = np.random.default_rng(0).random((30, 28, 20, 4), dtype=np.float32) + 1
    stack[..., 2] = np.nan
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    nib.save(nib.Nifti1Image(stack, affine), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((30, 28, 20), np.uint8), affine), tmp_path / "a_label.nii.gz")
    item = {"image": str(tmp_path / "a.nii.gz"), "label": str(tmp_path / "a_label.nii.gz")}
    config = TUMOUR.parser("train", "demo", small=True)
    config["train#dataset#data"] = [item]
    sample = config.get_parsed_content("train#dataset")[0]
    assert sample["image"].shape == (4, 32, 32, 16)
    assert sample["present"].tolist() == [True, True, False, True]
    assert sample["image"].isnan().flatten(1).any(1).tolist() == [False, False, True, False]
    assert sample["labelled"].item()
    assert set(sample["label"].unique().tolist()) == {0, 1}


# ---- settings


@pytest.mark.parametrize("setting", TUMOUR.settings)
def test_settings(setting):
    config = TUMOUR.parser("train", "demo", setting, small=True)
    network = config.get_parsed_content("network_def")
    standard = setting.startswith("standard") or setting == "modality_dropout"
    assert isinstance(network, ImputedModalitiesNet if standard else FusedAnatomyNet)
    assert len(config.get_parsed_content("optimizers")["segmentation"].param_groups) == 1 + (setting == "finetune")
    channels = 4 if standard else 12 + 4 * (setting == "with_images")
    assert network.task(torch.zeros(1, channels, 32, 32, 16)).shape == (1, 4, 32, 32, 16)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_one_pool(pool):
    network = TUMOUR.parser("train", "demo", small=True, pools=[pool]).get_parsed_content("network_def")
    assert network.task(torch.zeros(1, 4, 32, 32, 16)).shape == (1, 4, 32, 32, 16)


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["standard_average", "finetune", "segresnet"])
def test_settings_train(setting, brain_with_pet, tmp_path):
    path, encoder = TUMOUR.stage_one(tmp_path)
    TUMOUR.train(tmp_path, brain_with_pet, setting, stage_one=str(path))
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    if setting.startswith("standard"):
        assert "average" in state
        sources = ["t2", "t1"]
    else:
        same = [torch.equal(state[f"encoder.{n}"], v) for n, v in encoder.state_dict().items()]
        assert all(same) == (setting == "segresnet")
        sources = ["flair"]
    out = tmp_path / "infer"
    assert len(TUMOUR.infer(out, brain_with_pet, setting, sources=sources, ckpt_dir=str(tmp_path / "models"))) == 1


def test_average_images_are_those_of_the_training_subjects(brain_with_pet, tmp_path):
    config = TUMOUR.parser("train", "demo", "standard_average", dataset_dir=str(brain_with_pet), small=True)
    config.get_parsed_content("prepare")
    volumes = [
        config.get_parsed_content("train#volumes")(dict(one))["image"]
        for one in config.get_parsed_content("train#dataset#data")
    ]
    expected = torch.stack([torch.as_tensor(v.as_tensor()) for v in volumes]).nanmean(0)
    average = config.get_parsed_content("network_def").average
    torch.testing.assert_close(average, expected)
    absent = 0
    for item, volume in zip(config.get_parsed_content("train#dataset#data"), volumes, strict=True):
        transforms = config.get_parsed_content("train#preprocessing").transforms
        filled = Compose(transforms[: len(config["train#volume_transforms"]) + 2])(dict(item))
        plain = torch.as_tensor(volume.as_tensor())
        torch.testing.assert_close(filled["image"], torch.where(plain.isnan(), average, plain))
        assert filled["present"].all()
        absent += int(plain.isnan().any())
    assert absent


# ---- the encoder's weights


def test_without_an_encoder(brain_with_pet, tmp_path, monkeypatch):
    """The message says which command makes it."""
    monkeypatch.setattr(
        sys,
        "argv",
        ["monai/bundle/__main__.py", "run", "training", "--config_file", str(TUMOUR.files("train", "demo"))],
    )
    with pytest.raises(SystemExit, match=r"none.pt are missing(.|\n)*disentangle/configs/train.json','.*demo.json'\]"):
        TUMOUR.load(("train", "demo"), tmp_path, brain_with_pet, stage_one=str(tmp_path / "none.pt")).initialize()


def test_a_packed_bundle_trains_on_without_the_first_stage(run, brain_with_pet, tmp_path):
    """Its weights hold the encoder."""
    packed = pack_bundle(
        TUMOUR.configs.parent, tmp_path / "tumour", overlays=["demo"], model=run[0] / "models" / "model.pt",
        overrides=TUMOUR.network,
    )  # fmt: skip
    meta = json.loads((packed / "configs" / "metadata.json").read_text(encoding="utf-8"))["network_data_format"]
    assert meta["inputs"]["image"]["spatial_shape"] == TUMOUR.network["spatial_size"]
    assert list(meta["inputs"]["image"]["channel_def"].values()) == ["t1", "t1gd", "t2", "flair"]
    config = ConfigParser()
    config.read_config(str(packed / "configs" / "train.json"))
    config["bundle_root"] = str(packed)
    config.get_parsed_content("prepare")
    network = config.get_parsed_content("network_def")
    for name, value in run[2].state_dict().items():
        assert torch.equal(network.encoder.state_dict()[name], value), name


def test_metadata():
    meta = TUMOUR.content("metadata")["network_data_format"]
    config = TUMOUR.parser("train")
    assert list(meta["inputs"]["image"]["channel_def"].values()) == config.get_parsed_content("modalities")
    # MONAI's count of the autoencoder with four classes and no part of the encoder
    with torch.device("meta"):
        task = config.get_parsed_content("task_def")
    assert sum(p.numel() for p in task.parameters()) == 10_670_255 + 16 + 1
