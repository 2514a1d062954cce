# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_mmseg.preparation.layouts.msd import read_msd
from tests.preparation.layouts.other_tools import image_of, label_of, put, put_json, rows, voxels

LABELS = {"0": "background", "1": "PZ", "2": "TZ"}


def task(folder, modality=None, channels=2, **more):
    """Two cases for training and one for testing, listed as the Decathlon lists them."""
    for seed, name in enumerate(["prostate_00", "prostate_01"]):
        put(folder / "imagesTr" / f"{name}.nii.gz", image_of(seed, channels))
        put(folder / "labelsTr" / f"{name}.nii.gz", label_of([1, 2], seed))
        (folder / "imagesTr" / f"._{name}.nii.gz").write_bytes(b"left by macOS")
    put(folder / "imagesTs" / "prostate_02.nii.gz", image_of(2, channels))
    listed = [
        {"image": f"./imagesTr/prostate_0{one}.nii.gz", "label": f"./labelsTr/prostate_0{one}.nii.gz"} for one in (0, 1)
    ]
    content = {
        "name": "PROSTATE",
        "modality": modality or {"0": "T2", "1": "ADC"},
        "labels": LABELS,
        "licence": "CC-BY-SA 4.0",
        "reference": "Radboud University",
        "numTraining": 2,
        "numTest": 1,
        "training": listed,
        "test": ["./imagesTs/prostate_02.nii.gz"],
    }
    put_json(folder / "dataset.json", {**content, **more})
    return folder


def test_channels_of_a_4d_image_are_modalities(tmp_path):
    found = read_msd(task(tmp_path))
    assert (found.name, found.modalities, found.broken) == ("PROSTATE", ["t2", "adc"], {})
    assert (found.licence, found.reference) == ("CC-BY-SA 4.0", "Radboud University")
    assert (found.labels, found.values) == ({0: "background", 1: "PZ", 2: "TZ"}, {0: 0, 1: 1, 2: 2})
    assert found.notes == ["channel 'T2' is modality t2", "channel 'ADC' is modality adc"]
    assert rows(found.cases, "subject", "modality", "frame", "label", "section") == [
        ("prostate_00", "t2", 0, "prostate_00.nii.gz", "training"),
        ("prostate_00", "adc", 1, "prostate_00.nii.gz", "training"),
        ("prostate_01", "t2", 0, "prostate_01.nii.gz", "training"),
        ("prostate_01", "adc", 1, "prostate_01.nii.gz", "training"),
        ("prostate_02", "t2", 0, None, "test"),
        ("prostate_02", "adc", 1, None, "test"),
    ]
    assert np.array_equal(voxels(found.cases[3]), image_of(1, 2)[..., 1])


def test_one_channel(tmp_path):
    found = read_msd(task(tmp_path, {"0": "CT"}, channels=0), labels="gland=1+2", modalities=["ct_portal"])
    assert rows(found.cases[:1], "modality", "frame") == [("ct_portal", None)]
    assert (found.labels, found.values) == ({0: "background", 1: "gland"}, {0: 0, 1: 1, 2: 1})
    assert rows(read_msd(task(tmp_path, {"0": "CT"}, channels=1)).cases[:1], "frame") in ([(0,)], [(None,)])


def test_what_the_lists_and_the_folder_disagree_on(tmp_path):
    task(tmp_path, numTraining=32, numTest=16)
    put(tmp_path / "imagesTs" / "prostate_03.nii.gz", image_of(1, 2))
    assert read_msd(tmp_path).notes[2:] == [
        "dataset.json tells of numTraining = 32, its list has 2: the list counts",
        "dataset.json tells of numTest = 16, its list has 1: the list counts",
        "1 images are in no list of dataset.json and left out: imagesTs/prostate_03.nii.gz",
    ]


def test_subjects_that_are_broken(tmp_path):
    task(tmp_path)
    (tmp_path / "labelsTr" / "prostate_00.nii.gz").unlink()
    put(tmp_path / "imagesTr" / "prostate_01.nii.gz", image_of(1, 3))
    (tmp_path / "imagesTs" / "prostate_02.nii.gz").write_bytes(b"<html>")
    found = read_msd(tmp_path)
    assert (list(found.cases), list(found.broken)) == ([], ["prostate_00", "prostate_01", "prostate_02"])
    for text, part in zip(
        found.broken.values(), ["no such file", "holds 3 channels, 2 are named: t2, adc", "a web page"], strict=True
    ):
        assert part in text
    put(tmp_path / "imagesTr" / "prostate_01.nii.gz", image_of(1))
    assert "holds one channel, 2 are named" in read_msd(tmp_path).broken["prostate_01"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": None}, "'modality' must name channels 0, 1, 2, ..., got None"),
        ({"labels": {"PZ": 1}}, "'labels' must map values to names"),
        ({"training": [{"label": "a"}]}, "'training' must be a list of paths or of objects"),
        ({"test": "imagesTs"}, "'test' must be a list of paths"),
        ({"training": [], "test": []}, "holds no images of this data set"),
    ],
)
def test_descriptions_that_are_wrong(tmp_path, change, message):
    task(tmp_path)
    put_json(tmp_path / "dataset.json", {"modality": {"0": "T2"}, "labels": LABELS, **change})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_msd(tmp_path)


def test_labels_that_nobody_declares(tmp_path):
    with pytest.raises(ValueError, match=r"labels names the values \[4\], the data set declares"):
        read_msd(task(tmp_path), labels="tumour=4, gland=1")
    with pytest.raises(FileNotFoundError, match="dataset.json: no such file"):
        read_msd(tmp_path / "none")
