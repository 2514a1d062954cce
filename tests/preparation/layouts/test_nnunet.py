# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import load_datalist
from monai_mmseg.preparation.layouts import import_layout
from monai_mmseg.preparation.layouts.nnunet import read_nnunet
from tests.preparation.layouts.other_tools import image_of, label_of, nnunet_set, put, put_json, rows, voxels

ORGANS = {"background": 0, "liver": 1, "spleen": 2}
BRATS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing": 3}


def test_channels_are_modalities_that_share_the_label(tmp_path):
    folder = nnunet_set(tmp_path / "Dataset012_Abdomen", ["p1", "p2"], {"0": "T1 in", "1": "T2"}, ORGANS, test=["p3"])
    (folder / "imagesTr" / "._p1_0000.nii.gz").write_bytes(b"left by macOS")
    found = read_nnunet(tmp_path)  # the only data set in a folder
    assert (found.name, found.modalities, found.broken) == ("Abdomen", ["t1_in", "t2"], {})
    assert found.labels == {0: "background", 1: "liver", 2: "spleen"}
    assert found.values == {0: 0, 1: 1, 2: 2}
    assert rows(found.cases, "subject", "modality", "image", "label", "section", "fold") == [
        ("p1", "t1_in", "p1_0000.nii.gz", "p1.nii.gz", "training", None),
        ("p1", "t2", "p1_0001.nii.gz", "p1.nii.gz", "training", None),
        ("p2", "t1_in", "p2_0000.nii.gz", "p2.nii.gz", "training", None),
        ("p2", "t2", "p2_0001.nii.gz", "p2.nii.gz", "training", None),
        ("p3", "t1_in", "p3_0000.nii.gz", None, "test", None),
        ("p3", "t2", "p3_0001.nii.gz", None, "test", None),
    ]
    assert np.array_equal(voxels(found.cases[3]), image_of(11))
    named = read_nnunet(folder, modalities=["a", "b"], labels="spleen=2, others=background")
    assert (named.modalities, named.labels) == (["a", "b"], {0: "background", 1: "spleen"})
    assert named.values == {0: 0, 1: 0, 2: 1}


def test_what_is_written(tmp_path):
    folder = nnunet_set(tmp_path / "raw", ["p1"], {"0": "CT"}, {"background": 0, "spleen": 2}, values=[2])
    for item in load_datalist(import_layout(read_nnunet(folder), tmp_path / "out" / "datalist.json")):
        assert (item["subject"], item["modality"]) == ("p1", "ct")
        assert np.array_equal(np.asarray(nib.load(item["image"]).dataobj), image_of(0))
        assert np.array_equal(np.asarray(nib.load(item["label"]).dataobj), label_of([2], 0) == 2)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".NII.GZ"])
def test_endings(tmp_path, ending):
    folder = nnunet_set(tmp_path, ["p1"], {"0": "CT"}, ORGANS, ending=ending)
    content = json.loads((folder / "dataset.json").read_text())
    put_json(folder / "dataset.json", {**content, "file_ending": ending.lower()})
    assert rows(read_nnunet(folder).cases, "image", "label") == [(f"p1_0000{ending}", f"p1{ending}")]


def test_version_1(tmp_path):
    nnunet_set(tmp_path, ["p1"], {"0": "MRI"}, ORGANS)
    put_json(tmp_path / "dataset.json", {"modality": {"0": "MRI"}, "labels": {"0": "air", "2": "spleen", "1": "liver"}})
    found = read_nnunet(tmp_path)
    assert (found.modalities, found.labels) == (["mri"], {0: "air", 1: "liver", 2: "spleen"})


def test_mixed_modalities(tmp_path):
    folder = nnunet_set(tmp_path, ["ct_1", "mr_1", "mr_2"], {"0": "mixed"}, ORGANS)
    found = read_nnunet(folder, modality_from="ct=^ct_, mr=^mr_[0-9]{1,3}$")
    assert (found.modalities, found.notes) == (["ct", "mr"], [])
    assert rows(found.cases, "subject", "modality") == [("ct_1", "ct"), ("mr_1", "mr"), ("mr_2", "mr")]
    found = read_nnunet(folder, case="{modality}_{subject}")  # both of person 1
    assert rows(found.cases, "subject", "modality") == [("1", "ct"), ("1", "mr"), ("2", "mr")]
    (folder / "cases.csv").write_text("case,modality,subject\nct_1,CT,anna\nmr_1,MR,anna\nmr_2,MR,ben\n")
    assert "--modality-from cases.csv" in read_nnunet(folder).notes[-1]  # else a person's cases are subjects, untold
    found = read_nnunet(folder, modality_from="cases.csv")
    assert found.notes == []
    assert rows(found.cases, "subject", "modality") == [("anna", "CT"), ("anna", "MR"), ("ben", "MR")]
    for words, message in (
        ({"modality_from": "ct=^ct_"}, "case 'mr_1' fits none of the modalities"),
        ({"modality_from": "ct=1, mr=_"}, "case 'ct_1' fits ct and mr of"),
        ({"modality_from": "ct"}, "modality_from must be like"),
        ({"modality_from": "ct=("}, "is no regular expression"),
        ({"case": "{subject}_x"}, "case 'ct_1' does not fit the pattern"),
        ({"modality_from": "cases.csv", "case": "{subject}"}, "give one of them"),
    ):
        with pytest.raises(ValueError, match=message):
            read_nnunet(folder, **words)
    (folder / "cases.csv").write_text("case,modality\nct_1,CT\n")
    with pytest.raises(ValueError, match=r"case 'mr_1' is not in .*cases.csv"):
        read_nnunet(folder, modality_from="cases.csv")
    with pytest.raises(FileNotFoundError, match="none.csv: no such file, neither here nor in"):
        read_nnunet(folder, modality_from="none.csv")
    two = nnunet_set(tmp_path / "two", ["p"], {"0": "a", "1": "b"}, ORGANS)
    with pytest.raises(ValueError, match="are for data sets of one channel"):
        read_nnunet(two, modality_from="ct=p")


def test_visits_and_folds(tmp_path):
    cases = [f"p{person}_v{visit}" for person in (1, 2) for visit in (1, 2)]
    folder = nnunet_set(tmp_path, cases, {"0": "T1"}, ORGANS, test=["p3_v1"])
    splits = [{"train": cases[2:], "val": cases[:2]}, {"train": cases[:2], "val": cases[2:]}]
    put_json(folder / "splits_final.json", splits)
    found = read_nnunet(folder, case="{subject}_{visit}")
    assert rows(found.cases, "subject", "visit", "fold") == [
        *(("p1", "v1", 0), ("p1", "v2", 0), ("p2", "v1", 1), ("p2", "v2", 1)),
        ("p3", "v1", None),
    ]
    assert "2 folds are those of splits_final.json" in found.notes
    with pytest.raises(ValueError, match=r"subject 'p1' has two images of modality 't1': .*p1_v1_0000.* and .*p1_v2"):
        read_nnunet(folder, case="{subject}_v*")
    for parts, reason in (
        ([[0, 2], [1, 3]], "images of p1, p2 would be in two folds"),
        ([[0, 1], [2, 3, 0]], "p1_v1 would be in two folds"),
        ([[0, 1], [2]], "p2_v2 would be in no fold"),
    ):
        other = put_json(
            tmp_path / "other.json", [{"train": [], "val": [cases[one] for one in part]} for part in parts]
        )
        found = read_nnunet(folder, case="{subject}_{visit}", splits=str(other))
        assert {case.fold for case in found.cases} == {None}
        assert any(reason in note for note in found.notes)
    with pytest.raises(ValueError, match="must be a list of objects with 'train' and 'val'"):
        read_nnunet(folder, splits=str(put_json(tmp_path / "bad.json", {"a": 1})))
    with pytest.raises(FileNotFoundError, match=r"none.json: no such file"):
        read_nnunet(folder, splits="none.json")


def test_explicit_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("SCANS", str(tmp_path / "scans"))
    put(tmp_path / "scans" / "a.nii.gz", image_of(3))
    put(tmp_path / "set" / "own" / "seg.nii.gz", label_of([1]))
    listed = {"p1": {"images": ["$SCANS/a.nii.gz"], "label": "own/seg.nii.gz"}}
    head = {"channel_names": {"0": "CT"}, "labels": ORGANS, "numTraining": 1, "file_ending": ".nii.gz"}
    put_json(tmp_path / "set" / "dataset.json", {**head, "dataset": listed})
    (case,) = read_nnunet(tmp_path / "set").cases
    assert (case.subject, case.image) == ("p1", tmp_path / "scans" / "a.nii.gz")
    (tmp_path / "set" / "own" / "seg.nii.gz").unlink()
    assert "seg.nii.gz: no such file" in read_nnunet(tmp_path / "set").broken["p1"]


def test_regions(tmp_path):
    folder = nnunet_set(tmp_path, ["p1"], {"0": "FLAIR"}, BRATS, regions_class_order=[1, 2, 3], values=[1, 2, 3])
    found = read_nnunet(folder)
    assert found.labels == {0: "background", 1: "whole tumor_rest", 2: "tumor core_rest", 3: "enhancing"}
    assert any("regions overlap, classes do not: 0 background, 1 whole tumor_rest" in note for note in found.notes)
    kits = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}
    content = json.loads((folder / "dataset.json").read_text())
    put_json(folder / "dataset.json", {**content, "labels": kits, "regions_class_order": [1, 3, 2]})
    assert list(read_nnunet(folder).labels.values()) == ["background", "kidney_rest", "tumor", "masses_rest"]
    put_json(folder / "dataset.json", {**content, "labels": {"background": 0, "whole": [1, 2, 3], "core": 3}})
    with pytest.raises(ValueError, match=r"the region 'whole' alone holds the values \[1, 2\]; say what each is"):
        read_nnunet(folder)
    assert read_nnunet(folder, labels="edema=1+2, core=3").labels == {0: "background", 1: "edema", 2: "core"}


def test_ignore_label(tmp_path):
    labels = {**ORGANS, "ignore": 3}
    folder = nnunet_set(tmp_path, ["p1", "p2"], {"0": "CT"}, labels)
    put(folder / "labelsTr" / "p2.nii.gz", label_of([1, 3]).astype(np.uint8))
    found = read_nnunet(folder)
    assert found.values[3] == 255
    assert found.notes[-1] == "voxels of the ignore label 3 become 255: they count nowhere"
    with pytest.raises(ValueError, match="ignore must be one of .*, got 'air'"):
        read_nnunet(folder, ignore="air")
    found = read_nnunet(folder, ignore="background")
    assert (found.values[3], found.labels) == (0, {0: "background", 1: "liver", 2: "spleen"})
    assert "the ignore label 3 becomes background" in found.notes
    found = read_nnunet(folder, ignore="unlabelled")
    assert rows(found.cases, "subject", "label") == [("p1", "p1.nii.gz"), ("p2", None)]
    assert found.notes[-1] == "labels with voxels of the ignore label 3 are left out: p2"


def test_subjects_that_are_not_complete(tmp_path):
    folder = nnunet_set(tmp_path, ["p1", "p2", "p3", "p4"], {"0": "T1", "1": "T2"}, ORGANS, test=["p5"])
    (folder / "imagesTr" / "p1_0001.nii.gz").unlink()
    (folder / "labelsTr" / "p2.nii.gz").unlink()
    put(folder / "imagesTr" / "p3_0002.nii.gz", image_of(1))
    put(folder / "labelsTr" / "p9.nii.gz", label_of([1]))
    put(folder / "imagesTs" / "scan.nii.gz", image_of(1))
    found = read_nnunet(folder)
    assert {case.subject for case in found.cases} == {"p4", "p5"}
    assert {name: text.replace(str(folder), "") for name, text in found.broken.items()} == {
        "p1": "case 'p1' lacks the channel 0001 (t2).",
        "p2": "case 'p2' lacks its label, labelsTr/p2.nii.gz.",
        "p3": "/imagesTr/p3_0002.nii.gz: a channel that dataset.json does not have, it names ['t1', 't2'].",
        "p9": "/labelsTr/p9.nii.gz: a label without an image",
        "scan.nii.gz": "/imagesTs/scan.nii.gz: the name has no number of a channel, such as _0000",
    }
    for part in ("imagesTr", "labelsTr"):
        for path in (folder / part).glob("p4*"):
            path.unlink()
    assert read_nnunet(folder).broken["dataset.json"].startswith("numTraining is 4, 3 training cases are there")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file_ending": ".png"}, "'file_ending' is '.png'; read are volumes with an affine .* no pictures"),
        ({"channel_names": ["CT"]}, r"'channel_names' must name channels 0, 1, 2, ..., got \['CT'\]"),
        ({"channel_names": {"1": "CT"}}, "must name channels 0, 1, 2"),
        ({"channel_names": {"0": "?"}}, r"'\?' cannot be the name of a modality"),
        ({"labels": {"liver": 1}}, "must map names to numbers with background 0"),
        ({"labels": {"background": 0, "liver": 1, "spleen": 1}}, "gives 1 to 'liver' and to 'spleen'"),
        ({"labels": {"background": 0, "liver": 1.5}}, "must give numbers from 0, got 'liver': 1.5"),
        ({"labels": {"background": 0, "liver": 1, "ignore": [2, 3]}}, "'ignore' must be one number"),
        ({"labels": {"zero": "background"}}, "must map values to names"),
    ],
)
def test_descriptions_that_are_wrong(tmp_path, change, message):
    folder = nnunet_set(tmp_path, ["p1"], {"0": "CT"}, ORGANS)
    put_json(folder / "dataset.json", {**json.loads((folder / "dataset.json").read_text()), **change})
    with pytest.raises(ValueError, match=message):
        read_nnunet(folder)


def test_folders_that_are_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder must be where the data set is, but .*none"):
        read_nnunet(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"holds no dataset.json\."):
        read_nnunet(tmp_path)
    for name in ("Dataset001_a", "Dataset002_b"):
        nnunet_set(tmp_path / name, [], {"0": "CT"}, ORGANS)
    with pytest.raises(FileNotFoundError, match="several data sets, name one: Dataset001_a, Dataset002_b"):
        read_nnunet(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no images .* such as imagesTr/case_0000.nii.gz"):
        read_nnunet(tmp_path / "Dataset001_a")
    (tmp_path / "Dataset001_a" / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match="not a JSON file"):
        read_nnunet(Path(tmp_path / "Dataset001_a"))
    (tmp_path / "Dataset001_a" / "dataset.json").write_text('{"labels": {}, "labels": {}}')
    with pytest.raises(ValueError, match="key 'labels' is given twice"):
        read_nnunet(Path(tmp_path / "Dataset001_a"))
    (tmp_path / "Dataset001_a" / "dataset.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold an object, got list"):
        read_nnunet(Path(tmp_path / "Dataset001_a"))


def test_channels_of_one_name(tmp_path):
    folder = nnunet_set(tmp_path, ["p1"], {"0": "MRI", "1": "MRI"}, ORGANS)
    assert read_nnunet(folder).modalities == ["mri_0", "mri_1"]
    with pytest.raises(ValueError, match="modalities must be distinct"):
        read_nnunet(folder, modalities=["a", "a"])
    with pytest.raises(ValueError, match="must name the 2 channels"):
        read_nnunet(folder, modalities=["a"])
