# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.data.borrowed import borrowed_text
from monai_mmseg.evaluation import evaluate_predictions
from monai_mmseg.preparation import borrow_labels, check_datalist, write_stacks, write_test_folds
from monai_mmseg.runs.identity import datalist_identity
from tests.synthetic_volumes import edit, write_study

GRID = ((8, 8, 4), (8, 8, 12))


@pytest.fixture
def data(tmp_path):
    """A list whose LGE images lack labels but for that of s3, and predictions of s1 and s2, which are the true ones."""
    path = write_study(tmp_path / "data", {"cine": GRID, "lge": GRID}, subjects=("s1", "s2", "s3", "s4"))
    for name in ("s1", "s2"):
        (tmp_path / "register" / name).mkdir(parents=True)
        file = tmp_path / "register" / name / f"{name}_lge_seg.nii.gz"
        shutil.copy(path.parent / "labels" / f"{name}_lge.nii.gz", file)
    bare = [one for one in json.loads(path.read_text())["training"] if one["modality"] == "lge"]
    lacking = {one["image"] for one in bare if one["subject"] != "s3"}
    edit(path, lambda c: [one.pop("label") for one in c["training"] if one["image"] in lacking])
    return path, tmp_path / "register", tmp_path / "new" / "datalist.json"


def test_images_without_a_label_borrow_one_and_the_list_says_so(data, capsys):
    path, predictions, out = data
    words = ["data", "label", str(path), str(predictions), "--modality", "lge", "--out", str(out)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "2 training images of lge borrow a label from register, 1 keep theirs\n" in told
    assert "without label and prediction: s4\n" in told
    assert f"--dataset_dir {out.parent}\n" in told
    before, after = (json.loads(one.read_text(encoding="utf-8"))["training"] for one in (path, out))
    for old, new in zip(before, after, strict=True):
        borrows = old["modality"] == "lge" and old["subject"] in ("s1", "s2")
        assert new.get("label_source") == ("register" if borrows else None)
        assert ("label" in new) == ("label" in old or borrows)
    assert after[1]["label"] == "../register/s1/s1_lge_seg.nii.gz"
    assert after[0]["image"] == "../data/images/s1_cine.nii.gz"
    report = check_datalist(out)
    assert report.errors == []
    assert "training: 4 subjects; cine 4 (4 labelled), lge 4 (3 labelled, borrowed: 2 (register))" in report.summary()
    assert datalist_identity(out)["borrowed"] == "2 (register)"
    assert main(words) == 1
    assert f"{out} is there already" in capsys.readouterr().err


def test_a_list_that_borrows_already_says_so(data, tmp_path, capsys):
    path, predictions, out = data
    borrow_labels(path, predictions, out, modality="lge", method="register")
    (tmp_path / "net").mkdir()
    shutil.copy(predictions / "s1" / "s1_lge_seg.nii.gz", tmp_path / "net" / "s4_lge_seg.nii.gz")
    words = ["data", "label", str(out), str(tmp_path / "net"), "--modality", "lge", "--out", str(tmp_path / "all.json")]
    assert main(words) == 0
    assert "1 training image of lge borrows a label from net, 3 keep theirs (2 (register) borrowed earlier)" in (
        capsys.readouterr().out
    )
    message = (
        r"every training image of 'lge' has a label.* 3 \(register, net\) of them borrowed: give the list from before"
    )
    with pytest.raises(ValueError, match=message):
        borrow_labels(tmp_path / "all.json", predictions, tmp_path / "new.json", modality="lge", method="better")


def test_nothing_is_scored_against_a_borrowed_label(data, caplog):
    path, predictions, out = data
    borrow_labels(path, predictions, out, modality="lge", method="register")
    listed = read_datalist(out)
    found = {name: listed.path.parent / f"../data/labels/{name}_lge.nii.gz" for name in ("s1", "s2", "s3")}
    about = {"modality": "lge", "labels": listed.labels}
    assert evaluate_predictions(listed.items("training"), found, **about).subjects() == ["s3"]
    assert "Borrowed labels of lge are no truth and are left out: 2 (register)." in caplog.text
    some = [item for item in listed.items("training") if item["subject"] == "s1"]
    with pytest.raises(ValueError, match=r"got none, but borrowed ones: 1 \(register\)"):
        evaluate_predictions(some, found, **about)
    stacks, _ = write_stacks(out, target="lge", out=out.parent / "stacks")  # MONAI Label would call them final
    assert len(stacks) == 4
    assert [one.name for one in (out.parent / "stacks" / "labels" / "final").iterdir()] == ["s3.nii.gz"]
    edit(out, lambda c: [one.pop("label") for one in c["training"] if one["modality"] == "cine"])
    with pytest.raises(ValueError, match="at least 2 subjects with a label of each labelled modality"):
        write_test_folds(out, tests=2, folds=2)
    edit(out, lambda c: c.update(test=c.pop("training")))
    with pytest.raises(ValueError, match=r"test\[1\]: 'label_source' says that the label is borrowed, from 'register'"):
        read_datalist(out)


def test_a_cross_validation_tests_true_labels_alone(data):
    path, predictions, out = data
    borrow_labels(path, predictions, out, modality="lge", method="register")
    keep = [
        one for one in json.loads(out.read_text())["training"] if one["modality"] == "cine" or "label_source" in one
    ]
    edit(out, lambda c: c.update(training=keep))
    for one in write_test_folds(out, tests=2, folds=2).lists:
        assert borrowed_text(load_datalist(one, "test")) == ""
        assert borrowed_text(load_datalist(one)) == "1 (register)"


def test_what_cannot_be_borrowed(data, tmp_path):
    path, predictions, out = data

    def refused(match, folder=predictions, **more):
        with pytest.raises(ValueError, match=match):
            borrow_labels(path, folder, out, **{"modality": "lge", "method": "register", **more})
        assert not out.exists()

    refused("every training image of 'cine' has a label", modality="cine")
    refused("no training image is of 't2', there are", modality="t2")
    refused("must name what made the predictions", method=" ")
    refused("must be a folder of label volumes", folder=tmp_path / "nowhere")
    (tmp_path / "none").mkdir()
    refused("got no label volume: are they of another section", folder=tmp_path / "none")
    shutil.copy(predictions / "s1" / "s1_lge_seg.nii.gz", tmp_path / "none" / "s9_lge_seg.nii.gz")
    refused(r"3, the first wants s1_lge\[_seg\].nii.gz of subject 's1'.*such as .*s9_lge_seg", folder=tmp_path / "none")
    for name, change in (("s1", lambda a: a * 4), ("s2", lambda a: a[1:])):
        file = predictions / name / f"{name}_lge_seg.nii.gz"
        image = nib.load(file)
        nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), file)
    refused(r"(?s)label values must be one of the declared \[0, 1, 2\], found \[4, 8\].*lies on another grid")


def test_masks_that_a_baseline_does_not_name_are_not_borrowed(data):
    """As after a run whose source had lost its label: the mask is still there."""
    path, predictions, out = data
    (predictions / "baseline.json").write_text(json.dumps({"method": "register", "subjects": {"s1": {"counts": {}}}}))
    words = r"baseline.json does not name the masks of s2, such as .*s2_lge_seg.nii.gz: they are of an earlier run"
    with pytest.raises(ValueError, match=words):
        borrow_labels(path, predictions, out, modality="lge", method="register")
    assert not out.exists()
    shutil.rmtree(predictions / "s2")
    assert borrow_labels(path, predictions, out, modality="lge", method="register").subjects == ["s1"]
