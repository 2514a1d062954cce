# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The plain network: slices or windows of all modalities, trained, scored and used."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.bundles.runs import UNET, read, write

TERMS = ("dice", "cross_entropy", "reconstruction", "kl", "total")  # the middle ones without weight: of autoencoders
WINDOWS = {
    "spatial_size": [32, 32, 4],
    "task_def": {
        "_target_": "DynUNet",
        "spatial_dims": 3,
        "in_channels": "$len(@modalities)",
        "out_channels": "$len(@labels)",
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 8],
    },
}


@pytest.mark.parametrize("window", [{}, WINDOWS], ids=["slices", "windows"])
def test_trained_scored_and_used(window, heart, tmp_path, monkeypatch):
    """Inference is told nothing: size of the window and network come with the weights."""
    for key, value in window.items():
        monkeypatch.setitem(UNET.network, key, value)
    workflow = UNET.train(tmp_path, heart, picture=True, **window)
    metrics = workflow.trainer.state.metrics
    assert set(metrics) == {f"segmentation/{term}" for term in TERMS}
    assert all(np.isfinite(value) for value in metrics.values())
    folder = UNET.evaluate(tmp_path, heart)
    rows = json.loads((folder / "subsets.json").read_text(encoding="utf-8"))
    assert "myocardium" in json.dumps(rows)
    volumes = UNET.infer(tmp_path / "new", heart, ckpt_dir=str(tmp_path / "models"))
    assert sorted(volumes) == ["s05_lge_seg.nii.gz", "s06_lge_seg.nii.gz"]
    for name, volume in volumes.items():
        image = nib.load(heart / "images" / name.replace("_seg", ""))
        assert volume.shape == image.shape
        np.testing.assert_allclose(volume.affine, image.affine, atol=1e-4)
        np.testing.assert_array_equal(volume.dataobj, nib.load(folder / "predictions" / name).dataobj)


def test_a_modality_that_training_never_lacked(heart, tmp_path, capsys):
    """What is segmented without it is told, and scored with all others; trained without it, nothing is said."""
    content = read(heart / "datalist.json")
    for item in (one for section in ("training", "test") for one in content[section]):
        item.update({key: str(heart / item[key]) for key in ("image", "label")})
    content["test"] = [one for one in content["test"] if (one["subject"], one["modality"]) != ("s06", "lge")]
    write(tmp_path / "data", content)
    UNET.train(tmp_path, heart)
    settings = read(tmp_path / "models" / "settings.json")
    assert (settings["never_missing"], settings["missed_together"]) == (["cine", "lge"], [])
    told = "lge is missing for s06: no training sample lacked it, so these segmentations are guesses."
    capsys.readouterr()
    UNET.infer(tmp_path, tmp_path / "data")
    assert told in "".join(capsys.readouterr())
    folder = UNET.evaluate(tmp_path, tmp_path / "data")
    said = "".join(capsys.readouterr())
    assert told in said
    assert said.count(told) == 1
    stands_in = "Without an image of lge, scored on the grid of another: s06 on cine."
    assert stands_in in said
    scores = read(folder / "metrics" / "unet.json")
    assert {one["subject"] for one in scores["scores"]} == {"s05", "s06"}
    noted = "Guesses, as no training sample was without what they lack: s06 (lge)."
    assert scores["methods"]["unet"]["remarks"] == [noted, stands_in]
    for name in ("metrics/unet.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert all(f"unet: {line}" in text for line in (noted, stands_in))
    image = nib.load(heart / "images" / "s06_cine.nii.gz")
    stack = np.stack([np.asarray(image.dataobj, np.float32), np.full(image.shape, np.nan, np.float32)], -1)
    (tmp_path / "stacks").mkdir()
    nib.save(nib.Nifti1Image(stack, image.affine), tmp_path / "stacks" / "new.nii.gz")
    UNET.infer(tmp_path / "4d", tmp_path / "stacks", ckpt_dir=str(tmp_path / "models"))
    assert told.replace("s06", "new") in "".join(capsys.readouterr())  # what the file's names do not show
    blank = nib.load(heart / "images" / "s06_lge.nii.gz")  # zeros for a sequence that was not taken
    nib.save(nib.Nifti1Image(np.zeros(blank.shape, np.float32), blank.affine), tmp_path / "s06_lge.nii.gz")
    lge = next(one for one in read(heart / "datalist.json")["test"] if one["image"].endswith("s06_lge.nii.gz"))
    label = str(heart / lge["label"])
    content["test"].append({**lge, "image": str(tmp_path / "s06_lge.nii.gz"), "label": label})
    write(tmp_path / "blank", content)
    volumes = UNET.infer(tmp_path / "zeros", tmp_path / "blank", ckpt_dir=str(tmp_path / "models"))
    assert volumes["s06_lge_seg.nii.gz"].shape == blank.shape
    assert told in "".join(capsys.readouterr())
    scores = read(UNET.evaluate(tmp_path, tmp_path / "blank") / "metrics" / "unet.json")
    assert {one["subject"] for one in scores["scores"]} == {"s05", "s06"}
    assert scores["methods"]["unet"]["remarks"] == [noted]
    UNET.train(tmp_path / "drop", heart, "modality_dropout")
    assert read(tmp_path / "drop" / "models" / "settings.json")["never_missing"] == []
    capsys.readouterr()
    UNET.infer(tmp_path / "drop", tmp_path / "data")
    assert "is missing" not in "".join(capsys.readouterr())


def test_subjects_that_trained_are_no_test(heart, tmp_path, capsys):
    """A list that was split anew: who trained or watched the weights is told, in the table and on the page."""
    UNET.train(tmp_path, heart)
    content = read(heart / "datalist.json")
    trained, watched = ([one for one in content["training"] if (one["fold"] == 0) == kept] for kept in (False, True))
    everyone = {one["subject"]: f"copied_{one['subject']}" for one in content["training"]}
    for item in [*content["training"], *content["test"]]:
        for key in ("image", "label"):
            copy = (
                tmp_path / "data" / f"{everyone.get(item['subject'], item['subject'])}_{item['modality']}_{key}.nii.gz"
            )
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes((heart / item[key]).read_bytes())  # elsewhere, by another name
            item[key] = copy.name
    content["test"] += [trained.pop(0) for _ in range(2)] + [watched.pop(0) for _ in range(2)]
    moved = [one["subject"] for one in content["test"][-4::2]]
    content["training"] = [*trained, *watched]
    (tmp_path / "data" / "datalist.json").write_text(json.dumps(content), encoding="utf-8")
    capsys.readouterr()
    folder = UNET.evaluate(tmp_path, tmp_path / "data")
    told = f"Not a test of all: {moved[0]} trained these weights, and {moved[1]} chose them or watched their training."
    assert told in "".join(capsys.readouterr())
    assert read(folder / "metrics" / "unet.json")["methods"]["unet"]["remarks"] == [told]
    assert told in (folder / "report.html").read_text(encoding="utf-8")


def test_subjects_without_label_take_no_part(heart, tmp_path):
    content = read(heart / "datalist.json")
    for item in content["training"]:
        item.update({key: str(heart / item[key]) for key in ("image", "label")})
        if item["subject"] == "s03":
            del item["label"]
    write(tmp_path / "data", content)
    config = UNET.parser("train", small=True, dataset_dir=str(tmp_path / "data"), fold=1)
    subjects = {item["subject"] for item in config.get_parsed_content("train#dataset#data")}
    everyone = {item["subject"] for item in content["training"] if item["fold"] != 1}
    assert "s03" in everyone
    assert subjects == everyone - {"s03"}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_of_foreground(share, heart):
    """The voxel in the middle of a slice is of an organ, always or never (but where the border moves the slice)."""
    config = UNET.parser("train", small=True, dataset_dir=str(heart), foreground_share=share, spatial_size=[3, 3])
    data = config.get_parsed_content("train#dataset")
    centres = [bool(one["label"][0, 1, 1] > 0) for _ in range(5) for one in (data[k] for k in range(len(data)))]
    assert len(set(centres)) == 1
    assert centres[0] == bool(share)


@pytest.mark.parametrize("setting", [[], ["demo"]], ids=["paper", "demo"])
def test_networks(setting):
    with torch.device("meta"):
        network = UNET.parser("train", *setting).get_parsed_content("network_def")
    assert network.modalities == ("cine", "lge")
    if not setting:
        with torch.device("meta"):
            labels = {str(value): name for value, name in enumerate("abcde")}
            paper = UNET.parser("train", modalities=["lge"], labels=labels).get_parsed_content("network_def")
        assert sum(p.numel() for p in paper.parameters()) == 34_526_149  # benchmarks.md, section 1, at four organs
