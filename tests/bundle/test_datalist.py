# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which data a bundle finds: the user's, a folder of files, or the phantom that is made once."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

import monai_mmseg.phantom
from monai_mmseg.bundle import find_datalist, inference_items, read_items, training_subjects, volume_items


def item(subject, modality, fold=None, label=True):
    made = {"image": f"{subject}/{modality}.nii.gz", "modality": modality, "subject": subject}
    if label:
        made["label"] = f"{subject}/{modality}_label.nii.gz"
    return made if fold is None else {**made, "fold": fold}


@pytest.fixture
def datalist(tmp_path):
    """Eight subjects in two folds; s0 lacks the target's label, s1 the target; one test subject."""
    training = [item(f"s{n}", "cine", n % 2) for n in range(8)]
    training += [item(f"s{n}", "lge", n % 2, label=n != 0) for n in range(8) if n != 1]
    content = {
        "name": "x",
        "modalities": ["cine", "lge"],
        "labels": {"0": "background", "1": "LV"},
        "training": training,
        "test": [item("t", "lge"), item("t", "cine")],
    }
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def phantoms(monkeypatch):
    """What is asked of the phantom's maker, in place of making one."""
    asked = []

    def make(folder, **arguments):
        asked.append((str(folder), arguments))
        return folder / "datalist.json" if hasattr(folder, "joinpath") else f"{folder}/datalist.json"

    monkeypatch.setattr(monai_mmseg.phantom, "make_heart_phantom", make)
    return asked


def test_a_datalist_that_is_there_is_taken(datalist, phantoms):
    assert find_datalist(datalist.parent) == datalist
    assert find_datalist(str(datalist.parent), datalist.parent, {"seed": 1}) == datalist
    assert phantoms == []


def test_the_phantom_is_made_in_the_default_folder_only(tmp_path, phantoms, monkeypatch):
    settings = {"subjects": 3, "seed": 4, "_desc_": "a comment, as MONAI's configs have them"}
    assert find_datalist(tmp_path / "phantom", tmp_path / "phantom", settings) == tmp_path / "phantom" / "datalist.json"
    assert phantoms == [(str(tmp_path / "phantom"), {"subjects": 3, "seed": 4})]
    # the same folder, named from another one
    monkeypatch.chdir(tmp_path)
    find_datalist("phantom", tmp_path / "phantom", None)
    assert phantoms[1:] == [("phantom", {})]
    for folder, default in ((tmp_path / "other", tmp_path / "phantom"), (tmp_path / "phantom", None)):
        with pytest.raises(FileNotFoundError) as error:
            find_datalist(folder, default, settings)
        assert f"{folder.as_posix()}/datalist.json is not there" in str(error.value)
    assert len(phantoms) == 2


def test_a_folder_without_datalist_is_not_filled(tmp_path, phantoms):
    """Data with the datalist forgotten: nothing is written beside them."""
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="without a dataset_dir the bundle makes a phantom"):
        find_datalist(tmp_path, tmp_path / "phantom")
    assert phantoms == []


def names(items):
    return [f"{one['subject']}/{one['modality']}" for one in items]


def test_items_by_fold_and_modality(datalist):
    found = read_items(datalist, fold=1, modalities=["lge"])
    assert names(found) == ["s3/lge", "s5/lge", "s7/lge"]
    assert found[0]["image"] == str(datalist.parent / "s3" / "lge.nii.gz")
    assert names(read_items(datalist, exclude_fold=1, modalities=["cine"])) == [
        "s0/cine",
        "s2/cine",
        "s4/cine",
        "s6/cine",
    ]
    assert names(read_items(datalist, "test")) == ["t/lge", "t/cine"]


def test_items_of_subjects_with_a_label(datalist):
    """All modalities of those subjects, and of those only."""
    assert names(read_items(datalist, fold=0, labelled="lge")) == [
        f"s{n}/{m}" for m in ("cine", "lge") for n in (2, 4, 6)
    ]
    assert names(read_items(datalist, fold=1, labelled="lge", modalities=["cine"])) == ["s3/cine", "s5/cine", "s7/cine"]


def test_labels_are_dropped_before_subjects_are_chosen(datalist):
    kept = read_items(datalist, exclude_fold=0, fraction_of="lge", fraction=0.5)
    lge = {one["subject"] for one in kept if one["modality"] == "lge" and "label" in one}
    assert len(kept) == 7
    assert all("label" in one for one in kept if one["modality"] == "cine")
    assert {
        one["subject"] for one in read_items(datalist, exclude_fold=0, fraction_of="lge", fraction=0.5, labelled="lge")
    } == lge
    none = read_items(datalist, exclude_fold=0, fraction_of="lge", fraction=0.0)
    assert not any("label" in one for one in none if one["modality"] == "lge")


@pytest.mark.parametrize("arguments", [{"modalities": []}, {"fraction_of": "lge", "fraction": 0.0, "labelled": "lge"}])
def test_nothing_left_is_an_error(arguments, datalist):
    with pytest.raises(ValueError, match="no item of 'training' is left for fold=0") as error:
        read_items(datalist, fold=0, **arguments)
    assert str(datalist) in str(error.value)


def test_items_with_a_label(datalist):
    none = read_items(datalist, fraction_of="lge", fraction=0.0, with_label=True)
    assert {item["modality"] for item in none} == {"cine"}
    assert len(none) == sum("label" in item for item in read_items(datalist, modalities=["cine"]))


def test_a_modality_that_is_not_declared(datalist):
    with pytest.raises(ValueError, match=r"modalities must be among those that .* declares, .*; got \['LGE'\]"):
        read_items(datalist, modalities=["cine", "LGE"])


def test_folds_that_are_not_there(datalist):
    with pytest.raises(ValueError, match=r"no item has fold \[7\], there are \[0, 1\]"):
        read_items(datalist, fold=7)
    with pytest.raises(ValueError, match="mmseg data split"):
        read_items(datalist, "test", fold=0)


def test_inference_of_a_datalist(datalist):
    (one,) = inference_items(datalist.parent, ["cine", "lge"])
    files = {name: str(datalist.parent / "t" / f"{name}.nii.gz") for name in ("cine", "lge")}
    assert one == {"subject": "t", "image": files}  # no label, the order of the modalities
    assert list(one["image"]) == ["cine", "lge"]
    assert len(inference_items(datalist.parent, ["lge"], section="training")) == 7
    with pytest.raises(ValueError, match="no image has a modality of"):
        inference_items(datalist.parent, ["t2"])


def test_inference_without_a_test_section_takes_the_training_one(datalist):
    content = json.loads(datalist.read_text(encoding="utf-8"))
    del content["test"]
    datalist.write_text(json.dumps(content))
    assert len(inference_items(datalist.parent, ["cine", "lge"])) == 8


def test_inference_of_a_folder_of_files(tmp_path, phantoms):
    for name in ("b.nii", "a.nii.gz", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert inference_items(tmp_path, ["lge"], phantom_dir=tmp_path) == [
        {"subject": "a", "image": str(tmp_path / "a.nii.gz")},
        {"subject": "b", "image": str(tmp_path / "b.nii")},
    ]
    assert phantoms == []
    with pytest.raises(FileNotFoundError, match="must hold datalist.json"):
        inference_items(tmp_path / "nowhere", ["lge"])


def test_files_in_a_folder_are_subjects_by_their_whole_names(tmp_path):
    for name in ("1.2.840.113.nii.gz", "1.2.840.114.nii.gz", "s01.a.nii"):
        (tmp_path / name).touch()
    assert [one["subject"] for one in inference_items(tmp_path, ["lge"])] == ["1.2.840.113", "1.2.840.114", "s01.a"]
    (tmp_path / "s01.a.nii.gz").touch()
    with pytest.raises(ValueError, match=r"one image a subject, got \['s01.a'\] as .nii and as .nii.gz"):
        inference_items(tmp_path, ["lge"])


@pytest.mark.parametrize("items", [inference_items, volume_items])
def test_loose_files_whose_names_say_another_modality_are_told(items, tmp_path, caplog):
    """LGE would be segmented as cine; a 4D file holds all modalities, whatever its name ends in."""
    for name in ("s1_cine", "s1_LGE", "s2"):
        (tmp_path / f"{name}.nii.gz").touch()
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 2), np.uint8), np.eye(4)), tmp_path / "s3_lge.nii.gz")
    items(tmp_path, ["cine", "lge"], default_modality="cine")
    (said,) = caplog.messages
    assert said == (
        "1 of 4 images are taken as cine, and their names say another modality: s1_LGE.nii.gz. "
        "`mmseg predict` goes by names {subject}_{modality}, and a datalist says it, too."
    )


def test_loose_files_are_of_the_target(tmp_path, caplog):
    for name in ("s1_cine", "s1_lge"):
        (tmp_path / f"{name}.nii.gz").touch()
    inference_items(tmp_path, ["cine", "lge"], target="lge")
    assert [one.split(":")[0] for one in caplog.messages] == [
        "1 of 2 images are taken as lge, and their names say another modality"
    ]
    caplog.clear()
    inference_items(tmp_path, ["cine", "lge"], target="cine", default_modality="lge")
    assert "s1_cine.nii.gz" in caplog.text


def test_training_subjects_where_they_are_at_hand(datalist):
    """Without labels; none where files, folds or the section are not there."""
    assert training_subjects(datalist, ["cine", "lge"], 0) == []
    content = json.loads(datalist.read_text())
    for one in content["training"]:
        path = datalist.parent / one["image"]
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = training_subjects(datalist, ["cine", "lge"], 0)
    assert [one["subject"] for one in found] == ["s1", "s3", "s5", "s7"]
    assert list(found[1]["image"]) == ["cine", "lge"]
    assert not any(one["label"] for one in found)
    assert training_subjects(datalist, ["cine", "lge"], 5) == []
    datalist.write_text(json.dumps({**content, "training": []}))
    assert training_subjects(datalist, ["cine", "lge"], 0) == []


@pytest.mark.parametrize("find", [inference_items, volume_items])
def test_files_of_a_folder_in_any_letter_case_and_no_hidden_ones(find, tmp_path):
    for name in ("a.nii.gz", "B.NII.GZ", "C.Nii", "._a.nii.gz"):  # the last is what macOS leaves beside a file
        (tmp_path / name).touch()
    assert sorted(item["subject"] for item in find(tmp_path, ["cine", "lge"])) == ["B", "C", "a"]


def test_images_of_other_formats_beside_nifti_files_are_told(tmp_path, caplog):
    for name in ("a.nii.gz", "b.mha", "c.hdr", "c.img", "notes.txt"):
        (tmp_path / name).touch()
    assert len(inference_items(tmp_path, ["cine"])) == 1
    assert caplog.messages == [
        f"{tmp_path}: 2 images are not predicted: b.mha, c.hdr. `mmseg predict` and a datalist take all formats."
    ]
