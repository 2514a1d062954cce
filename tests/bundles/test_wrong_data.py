# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Data that are broken or not there are named before anything is trained; what is not needed is not made."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import monai_mmseg.phantom
from tests.bundles.runs import ABDOMEN, ALL, BRAIN, CSA, DAFNET, HEART, PET, TUMOUR, causes, read, write

SEGMENTING = pytest.mark.parametrize("bundle", [DAFNET, HEART, ABDOMEN], ids=lambda bundle: bundle.name)


@pytest.fixture
def data(heart, unpaired, brain):
    return lambda bundle: heart if bundle is DAFNET else brain if bundle in (BRAIN, TUMOUR, PET) else unpaired(bundle)


def break_nothing_there(folder, item):
    (folder / "datalist.json").unlink()
    return "datalist.json is not there"


def break_folds(folder, item):
    content = read(folder / "datalist.json")
    for one in content["training"]:
        one.pop("fold")
    write(folder, content)
    return "datalist.json: folds are asked for"


def break_value(folder, item):
    volume = nib.load(item["label"])
    nib.save(nib.Nifti1Image(volume.get_fdata() + 5, volume.affine), folder / "values.nii.gz")
    item["label"] = str(folder / "values.nii.gz")
    return "values.nii.gz: label values must be one of the declared"


def break_grid(folder, item):
    volume = nib.load(item["label"])
    nib.save(nib.Nifti1Image(volume.get_fdata()[:-1], volume.affine), folder / "shape.nii.gz")
    item["label"] = str(folder / "shape.nii.gz")
    return "shape.nii.gz: the label lies on another grid than its image"


def break_stack(folder, item):
    volume = nib.load(item["image"])
    nib.save(nib.Nifti1Image(np.stack([volume.get_fdata()] * 2, -1), volume.affine), folder / "stack.nii.gz")
    item["image"] = str(folder / "stack.nii.gz")
    return "stack.nii.gz: expected one 3D volume, got 2 volumes"


BREAKS = [break_nothing_there, break_folds, break_value, break_grid, break_stack]


@SEGMENTING
@pytest.mark.parametrize("spoil", BREAKS)
def test_bad_data_are_named(bundle, spoil, data, tmp_path):
    if bundle is DAFNET and spoil is break_stack:
        pytest.skip("a stack is an image of several modalities there")
    content = read(data(bundle) / "datalist.json")
    folder = write(tmp_path / "data", content, data(bundle))
    item = next(one for one in content["training"] if one["fold"] == 1)
    message = spoil(folder, item)
    if spoil in (break_value, break_grid, break_stack):
        write(folder, content)
    with pytest.raises((RuntimeError, ValueError, FileNotFoundError)) as error:
        bundle.train(tmp_path, folder)
    assert message in causes(error.value)
    assert not (tmp_path / "models").exists()


BAD = [
    (HEART, {"modalities": ["ct", "MR"]}, "declares, ['ct', 'mr']; got ['MR']"),
    (HEART, {"separate": ["group_11"]}, "separate must list stages"),
    (HEART, {"spatial_size": [30, 32]}, "must be divisible by 8 along every axis, got (30, 32)"),
    (HEART, {"default_modality": "us"}, "default_modality must be one of ['ct', 'mr']"),
    (CSA, {"layer_pairs": [["group_4", "gruop_5"]]}, "no module 'gruop_5': did you mean 'group_5'"),
    (CSA, {"layer_pairs": ["group_4", "group_5"]}, "layer_pairs must list pairs of module names"),
    (CSA, {"size_norm": "pixels"}, "size_norm must be one of"),
    (CSA, {"affinity_reduction": "mean"}, "reduction must be one of"),
    (CSA, {"modalities": ["lge", "bSSFP"]}, "declares, ['lge', 'bssfp']; got ['bSSFP']"),
    (CSA, {"pixdim": [1.0]}, "pixdim must be two positive spacings"),
    (BRAIN, {"target": "t2w"}, "target must be one of modalities"),
    (BRAIN, {"loss_weights#generator#latend": 1.0}, "did you mean latent"),
    (BRAIN, {"modalities": ["t1", "pet"], "target": "t1"}, "modalities must be among those that"),
    (BRAIN, {"spatial_size": [30, 32]}, "30"),
    (BRAIN, {"fold": 7}, "no item has fold [7]"),
    (HEART, {"kd_weight": float("nan")}, "kd_weight must be a number of at least 0, got nan"),
    (HEART, {"num_slices": 2}, "num_slices must be an odd whole number of at least 1, got 2"),
    (ABDOMEN, {"ct_window": [240, -160]}, "ct_window must be two numbers, the lower one first, got [240, -160]"),
    (ABDOMEN, {"pixdim": [1.5, 0, 8.0]}, "pixdim must be a list of positive numbers (mm), got [1.5, 0, 8.0]"),
    (DAFNET, {"learning_rate": 0}, "learning_rate must be a positive number, got 0"),
    (DAFNET, {"target_fraction": 25}, "target_fraction must be a number from 0 to 1, got 25"),
    (DAFNET, {"decoder": "spad"}, "decoder must be one of 'film', 'spade', got 'spad'; did you mean 'spade'?"),
]


@pytest.mark.parametrize(("bundle", "overrides", "message"), BAD, ids=lambda value: getattr(value, "name", None))
def test_bad_settings_are_named(bundle, overrides, message, data, tmp_path):
    with pytest.raises((RuntimeError, ValueError)) as error:
        bundle.train(tmp_path, data(bundle), **overrides)
    assert message in causes(error.value)
    assert not (tmp_path / "models" / "model.pt").exists()


@pytest.mark.parametrize("bundle", ALL, ids=lambda bundle: bundle.name)
@pytest.mark.parametrize("names", [("inference",), ("train", "demo", "evaluate")])
def test_a_section_that_no_datalist_has(bundle, names, tmp_path):
    """It was read as the training section, or found out after the network was loaded."""
    workflow = bundle.load(names, tmp_path, tmp_path / "nowhere", section="tset")
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    assert "section must be one of 'training', 'validation', 'test', got 'tset'; did you mean 'test'?" in causes(
        error.value
    )


@pytest.mark.parametrize("bundle", ALL, ids=lambda bundle: bundle.name)
@pytest.mark.parametrize("names", [("inference",), ("train", "demo", "evaluate")])
def test_without_weights_nothing_is_read(bundle, names, tmp_path, monkeypatch):
    """Not even the phantom is made; the folder of data is not there either."""
    workflow = bundle.load(names, tmp_path, tmp_path / "nowhere")
    words = ["x/monai/bundle/__main__.py", "run", "--config_file", str(bundle.files(*names)), "--dataset_dir", "no"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=r"models/model\.pt are missing") as error:
        workflow.initialize()
    assert f"run training --config_file {(bundle.configs / 'train.json').as_posix()}" in str(error.value)
    # scripts and servers bring weights later; who wants none says so
    monkeypatch.setattr(sys, "argv", ["script.py"])
    workflow.initialize()
    if names[0] == "inference":
        monkeypatch.setattr(sys, "argv", words)
        bundle.load(names, tmp_path, tmp_path / "nowhere", load_pretrain=False).initialize()


@SEGMENTING
def test_the_phantom_is_made_when_it_is_needed(bundle, data, tmp_path, monkeypatch):
    made = []

    def make(folder, **arguments):
        made.append((str(folder), arguments))
        Path(folder).symlink_to(data(bundle))
        return Path(folder) / "datalist.json"

    expected = dict(bundle.parser("train", "demo").get_parsed_content("phantom"))
    monkeypatch.setattr(monai_mmseg.phantom, f"make_{expected.pop('kind', 'heart')}_phantom", make)
    (tmp_path / "data").mkdir()
    paths = {"phantom_dir": str(tmp_path / "data" / "phantom"), "dataset_dir": "@phantom_dir"}
    workflow = bundle.load(("train", "demo"), tmp_path, tmp_path, **paths)
    workflow.parser.parse()
    workflow.parser.get_parsed_content("network_def")
    assert made == []
    workflow.initialize()
    workflow.run()
    assert made == [(paths["phantom_dir"], expected)]  # once, though several parts ask for it
