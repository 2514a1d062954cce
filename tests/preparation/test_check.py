# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.preparation import check_datalist, write_contact_sheet
from tests.synthetic_volumes import body, centered_affine, edit, rotation, write, write_study

GRIDS = {"cine": ((24, 22, 6), (3.0, 3.2, 9.0)), "lge": ((20, 24, 7), (3.6, 3.0, 8.0))}


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path, GRIDS, axes=rotation(40, 30, 20))


def test_sound_data(study):
    report = check_datalist(study)
    assert report.errors == report.warnings == []
    assert [(one.subject, one.modality, one.shape) for one in report.volumes[:2]] == [
        ("s1", "cine", (24, 22, 6)),
        ("s1", "lge", (20, 24, 7)),
    ]
    label = np.asarray(nib.load(study.parent / "labels" / "s1_lge.nii.gz").dataobj)
    assert report.volumes[1].label_ml["core"] == pytest.approx((label == 2).sum() * 3.6 * 3 * 8 / 1000, rel=1e-3)
    assert "training: 2 subjects; cine 2 (2 labelled), lge 2 (2 labelled)" in report.summary()


def test_every_broken_item_is_named_in_one_run(study):
    folder = study.parent
    affine = centered_affine((24, 22, 6), (3.0, 3.2, 9.0), rotation(40, 30, 20))
    image, label = body((24, 22, 6), affine)
    holes = image.copy()
    holes[2, 2, 2] = np.inf
    write(folder / "inf.nii.gz", holes, affine)
    write(folder / "flat.nii.gz", np.full_like(image, 5), affine)
    write(folder / "values.nii.gz", label * 4, affine)
    write(folder / "small.nii.gz", label[2:], affine)
    write(folder / "moved.nii.gz", label, affine @ np.diag([1, 1, 1.01, 1]))
    write(folder / "empty.nii.gz", np.zeros_like(label), affine)
    write(folder / "four.nii.gz", np.stack([image, image], -1), affine)
    (folder / "text.nii.gz").write_text("no image")
    singular = nib.Nifti1Image(image, None)
    singular.header.set_sform(np.diag([1.0, 0.0, 1.0, 1.0]), code=1)
    nib.save(singular, folder / "singular.nii.gz")
    good = "images/s1_cine.nii.gz"

    def change(content):
        def add(subject, image, label=None, modality="cine", **more):
            item = {"image": image, "modality": modality, "subject": subject, **more}
            content["training"].append(item if label is None else {**item, "label": label})

        add("p1", "lost.nii.gz")
        add("p2", "inf.nii.gz")
        add("p3", "flat.nii.gz")
        add("p4", "four.nii.gz")
        add("p5", "text.nii.gz")
        add("p6", "singular.nii.gz")
        for place, name in enumerate(("values", "small", "moved", "empty", "text")):
            write(folder / f"q{place}.nii.gz", image, affine)
            add(f"q{place}", f"q{place}.nii.gz", f"{name}.nii.gz")
        add("s1", good, modality="lge", fold=1)
        add("r1", "q0.nii.gz", modality="pet")
        content["test"] = [{"image": "images/s2_lge.nii.gz", "modality": "lge", "subject": "s2"}]
        content["trainng"] = []

    edit(study, change)
    report = check_datalist(study)
    everything = "\n".join(report.errors)
    for part in (
        "lost.nii.gz: no such file",
        "inf.nii.gz: 1 of 3168 values are NaN or infinite",
        "flat.nii.gz: the image is constant (5)",
        "four.nii.gz: one item is one 3D volume, this file holds 2",
        "text.nii.gz: cannot be read as an image",
        "singular.nii.gz: the affine cannot be inverted",
        "values.nii.gz: label values must be one of the declared [0, 1, 2], found [4, 8]",
        "small.nii.gz: the label lies on another grid",
        "moved.nii.gz: the label lies on another grid",
        "training[14] label: ",
        "subject 's1' is in several folds: ['0', '1']",
        "subject 's2' is in several sections: ['test', 'training']",
        "subject 's1' has 2 images of modality 'lge'",
        "s1_cine.nii.gz is named 2 times",
        "modality 'pet' is not declared",
        "unknown key 'trainng' (did you mean 'training'?)",
    ):
        assert part in everything, part
    assert any("empty.nii.gz: the label has no foreground" in one for one in report.warnings)
    assert "subject 'p2' has no lge" in report.notes


def test_modalities_of_a_subject_may_share_a_label(study):
    content = json.loads(study.read_text(encoding="utf-8"))
    first, second = content["training"][:2]
    assert first["subject"] == second["subject"]
    first["label"] = second["label"]
    study.write_text(json.dumps(content), encoding="utf-8")
    assert not any("is named" in one for one in check_datalist(study).errors)
    content["training"][2]["label"] = second["label"]  # another subject's
    study.write_text(json.dumps(content), encoding="utf-8")
    assert any("is named 2 times" in one for one in check_datalist(study).errors)


def test_labels_with_a_gap(study):
    """0, 1, 2, 4, as BraTS had them: every value is declared, and no network has a class 4 of 4."""
    edit(study, lambda content: content.update(labels={"0": "background", "1": "NCR", "2": "ED", "4": "ET"}))
    wanted = "labels must be 0 to 3, got 0, 1, 2, 4: map {4: 3} in the label files and in 'labels'"
    assert check_datalist(study).errors == [wanted]


def test_one_file_under_two_names(study):
    (study.parent / "copy.nii.gz").symlink_to(study.parent / "images" / "s1_lge.nii.gz")
    edit(study, lambda content: content["training"][3].update(image="copy.nii.gz"))
    errors = check_datalist(study).errors
    assert [one for one in errors if "is named" in one] == [
        f"{study.parent}/images/s1_lge.nii.gz is named 2 times (also as {study.parent}/copy.nii.gz)"
    ]


def test_names_of_subjects(study):
    def change(content):
        for one, name in zip(content["training"], ["../s1", "../s1", "S2", "s2"], strict=True):
            one["subject"] = name

    edit(study, change)
    report = check_datalist(study)
    assert "training[0]: subject '../s1' names files, but it holds a slash; call it 's1'" in report.errors
    assert any("subjects 'S2' and 's2' differ in their letter case alone" in one for one in report.warnings)


@pytest.mark.parametrize("declared", [["cine", "lge", "LGE"], None])
def test_names_of_modalities(study, declared):
    assert not any("letter case" in one for one in check_datalist(study).warnings)

    def change(content):
        next(one for one in reversed(content["training"]) if one["modality"] == "lge")["modality"] = "LGE"
        content["modalities"] = declared
        if not declared:
            del content["modalities"]

    edit(study, change)
    found = [one for one in check_datalist(study).warnings if "letter case" in one]
    assert len(found) == 1
    assert found[0].startswith("modalities 'lge' and 'LGE' differ in their letter case alone: are they one?")


def test_files_that_are_no_images(study):
    (study.parent / "images" / "s1_cine.nii.gz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (study.parent / "labels" / "s1_lge.nii.gz").write_bytes(b"<!DOCTYPE html>")
    errors = "\n".join(check_datalist(study).errors)
    assert "training[0]: " in errors
    assert "s1_cine.nii.gz: cannot be read as an image (it is a Git LFS pointer" in errors
    assert "training[1] label: " in errors
    assert "s1_lge.nii.gz: cannot be read as an image (it is a web page" in errors


def test_label_values_must_be_declared(study):
    edit(study, lambda content: content.pop("labels"))
    assert "items have labels, but 'labels' does not declare their values" in check_datalist(study).errors


def test_modalities_that_do_not_meet(study):
    far = study.parent / "images" / "s1_lge.nii.gz"
    image = nib.load(far)
    moved = image.affine.copy()
    moved[:3, 3] += 500
    write(far, np.asarray(image.dataobj), moved)
    report = check_datalist(study)
    assert any("subject 's1': no slice of lge lies near a slice of cine" in one for one in report.warnings)
    assert len(report.errors) == 1  # its label did not move along


def test_slices_without_a_partner_are_told(study):
    write_study(study.parent, {**GRIDS, "lge": ((20, 24, 3), (3.6, 3.0, 8.0))}, axes=rotation(40, 30, 20))
    notes = check_datalist(study).notes
    assert any("cine slices have no lge partner" in one for one in notes)


def test_slices_without_a_partner_are_told_of_both_modalities(tmp_path):
    """Seven slices around three of 10 mm: two at each end are 10 and 20 mm away, which is more than 5.5."""
    write_study(tmp_path, {"cine": ((20, 24, 3), (3, 3, 10)), "lge": ((20, 24, 7), (3, 3, 10))}, subjects=("s1",))
    notes = [one for one in check_datalist(tmp_path / "datalist.json").notes if "partner" in one]
    assert notes == ["subject 's1': 4 of 7 lge slices have no cine partner"]


def test_contact_sheet(study):
    edit(study, lambda content: content["training"].pop(1))
    report = check_datalist(study, thumbnails=True)
    path = write_contact_sheet(report, study.parent / "sheet.png")
    assert path.stat().st_size > 5000
    with pytest.raises(ValueError, match="no thumbnails"):
        write_contact_sheet(check_datalist(study), path)


def test_classes_that_labels_do_not_show_are_counted(tmp_path):
    path = write_study(tmp_path, {"ct": GRIDS["cine"]}, subjects=("a", "b"))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["labels"]["3"] = "wall"
    content["training"][0]["annotated"] = ["shell", "core"]
    path.write_text(json.dumps(content), encoding="utf-8")
    report = check_datalist(path)
    assert "not annotated: wall in 1 of 2 labels" in report.summary()
    assert "class 'wall' is declared and in no label" in report.warnings
    assert list(report.volumes[0].label_ml) == ["shell", "core"]
