# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.preparation import check_datalist, digest
from tests.synthetic_volumes import CENTER, body, centered_affine, edit, permuted, write, write_study

GRIDS = {"t1": ((14, 13, 5), (4.6, 4.2, 12.0)), "t2": ((12, 14, 6), (5.4, 4.2, 10.0))}
SUBJECTS = ("p1", "p2", "p3", "p4")


@pytest.fixture
def study(tmp_path):
    path = write_study(tmp_path, GRIDS, SUBJECTS)
    edit(path, lambda content: [item.update(fold=item["fold"] % 2) for item in content["training"]])
    return path


def item(content, subject, modality):
    return next(one for one in content["training"] if (one["subject"], one["modality"]) == (subject, modality))


def rewrite(study, name, change):
    """Change the voxels of a file, ``images/p1_t1`` and the like."""
    path = study.parent / f"{name}.nii.gz"
    image = nib.load(path)
    write(path, change(np.asarray(image.dataobj)), image.affine)


def warnings_of(study):
    report = check_datalist(study)
    assert report.errors == []
    return report.warnings


def test_nothing_to_say(study):
    report = check_datalist(study, workers=3)
    assert report.errors == report.warnings == []
    assert [(one.subject, one.modality) for one in report.volumes[:3]] == [("p1", "t1"), ("p1", "t2"), ("p2", "t1")]


def test_classes_that_are_absent(study):
    rewrite(study, "labels/p2_t1", lambda label: np.minimum(label, 1))
    assert warnings_of(study) == ["class 'core' is absent in 1 of 4 labels of modality 't1': p2"]
    for subject in SUBJECTS:
        rewrite(study, f"labels/{subject}_t1", lambda label: np.minimum(label, 1))
    assert warnings_of(study) == ["class 'core' is in no label of modality 't1'"]
    edit(study, lambda content: content["labels"].update({"3": "scar"}))
    assert "class 'scar' is declared and in no label" in warnings_of(study)


def test_organs_have_one_size_in_all_modalities(study):
    """Core and body exchanged in the labels of one modality, in most subjects; one alone may be drawn otherwise."""
    exchange = np.array([0, 2, 1], dtype=np.uint8)
    rewrite(study, "labels/p1_t1", lambda label: exchange[label])
    assert warnings_of(study) == []
    for subject in ("p2", "p3"):
        rewrite(study, f"labels/{subject}_t1", lambda label: exchange[label])
    (told,) = warnings_of(study)
    assert told.startswith(
        "labels of modalities 't1' and 't2' of one subject differ by more than a half in the volume of "
    )
    assert "in 3 of 4 subjects, such as p1, " in told


def test_one_voxel_is_not_absent(study):
    def one_voxel(label):
        label = np.minimum(label, 1)
        label[7, 6, 2] = 2
        return label

    rewrite(study, "labels/p2_t1", one_voxel)
    assert warnings_of(study) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hu: hu + 1024, "stored with 1000 or 1024 added?"),
        (lambda hu: (hu + 1000) / 2000 * 255, "scaled to 0..255?"),
        (lambda hu: (hu - hu.mean()) / hu.std(), "normalised?"),
        (lambda hu: hu, None),
        (lambda hu: hu.clip(-160, 240), None),  # a window keeps the scale
        (lambda hu: (hu * 2 + 300).clip(-40, 240), "cut to a window?"),
    ],
)
def test_ct_that_is_not_in_hounsfield_units(tmp_path, change, said):
    grid, spacing = GRIDS["t1"]
    study = write_study(tmp_path, {"ct": (grid, spacing), "mr": (grid, spacing)}, ("p1", "p2"))
    for subject in ("p1", "p2"):
        rewrite(study, f"images/{subject}_ct", lambda image: image * 4 - 1200)
    rewrite(study, "images/p2_ct", change)
    found = [one for one in warnings_of(study) if "Hounsfield" in one]
    if said is None:
        assert found == []
    else:
        assert len(found) == 1
        assert said in found[0]
        assert found[0].startswith("modality 'ct': 1 of 2 images are not in Hounsfield units, such as ")
        assert found[0].endswith(": p2")


def test_an_image_of_another_modality_that_looks_like_ct(tmp_path):
    study = write_study(tmp_path, {"mr": GRIDS["t1"]}, ("p1", "p2", "p3"))
    assert not any("air" in one for one in warnings_of(study))
    rewrite(study, "images/p2_mr", lambda image: image - 1024)
    (found,) = [one for one in warnings_of(study) if "air" in one]
    assert found.startswith("modality 'mr': 1 of 3 images reach below -500, as air does in CT, such as ")
    assert found.endswith("; are they of another modality? p2")


def test_an_erased_background_in_some_images(study):
    def erase(image, value=0.0):
        image = image.copy()
        image[body(image.shape, centered_affine(image.shape, GRIDS["t1"][1]))[1] == 0] = value
        return image

    rewrite(study, "images/p3_t1", erase)
    (found,) = warnings_of(study)
    assert "modality 't1': 1 image has an erased background (constant on the sides) and 3 have not;" in found
    assert found.endswith("With an erased background: p3")
    for gain, subject in enumerate(("p1", "p2", "p4"), start=2):
        rewrite(study, f"images/{subject}_t1", lambda image, gain=gain: erase(image * gain))
    assert warnings_of(study) == []
    assert "images with an erased background: t1 4 of 4, t2 0 of 4" in check_datalist(study).summary()
    rewrite(study, "images/p4_t1", lambda image: image - 100)
    assert warnings_of(study) == ["modality 't1': the erased background is 0 in 3 images and -100 in 1: p4"]


def test_modalities_without_labels_or_images(study):
    def unlabel(content):
        for one in content["training"]:
            if one["modality"] == "t2":
                del one["label"]

    edit(study, unlabel)
    assert warnings_of(study) == ["modality 't2' has no training image with a label; its subjects have labels of t1"]
    edit(study, lambda content: content["modalities"].append("flair"))
    assert "modality 'flair' is declared and has no training image" in warnings_of(study)


def test_a_label_serves_all_images_on_its_grid(tmp_path):
    same = GRIDS["t1"]
    study = write_study(tmp_path, {"t1": same, "t2": same}, ("p1", "p2"))
    for subject in ("p1", "p2"):
        rewrite(study, f"images/{subject}_t2", lambda image: 500 - image)
    edit(study, lambda content: [one.pop("label") for one in content["training"] if one["modality"] == "t2"])
    assert warnings_of(study) == []


def test_folds(study):
    def fold(numbers):
        edit(study, lambda c: [one.update(fold=numbers[one["subject"]]) for one in c["training"]])

    fold(dict.fromkeys(SUBJECTS, 3))
    assert warnings_of(study) == ["all training images are of fold 3: where it is held out, none is left to train on"]
    fold({"p1": 0, "p2": 0, "p3": 1, "p4": 2})
    edit(study, lambda content: [content["training"].remove(item(content, one, "t2")) for one in ("p1", "p2", "p4")])
    assert warnings_of(study) == [
        "fold 1 holds every labelled image of modality 't2': held out, none is left to train on",
        "no labelled image of modality 't2' to validate on in fold 0, 2",
    ]
    edit(study, lambda content: item(content, "p4", "t1").pop("fold"))
    assert "1 training image has no fold and others have one: p4" in warnings_of(study)
    edit(study, lambda content: [one.pop("fold", None) for one in content["training"]])
    report = check_datalist(study)
    assert report.warnings == []
    assert "no folds, and no section 'validation': `mmseg data split` makes folds" in report.notes


def test_of_one_subject_alone_nothing_can_be_split(tmp_path):
    study = write_study(tmp_path, {"t1": GRIDS["t1"]}, ("p1",))
    report = check_datalist(study)
    assert report.warnings == []
    assert report.notes == ["all training images are of fold 0: where it is held out, none is left to train on"]


def test_sections(study):
    def move(content):
        content["validation"] = [item(content, "p4", "t1")]
        content["training"] = [one for one in content["training"] if one["subject"] != "p4"]

    edit(study, move)
    assert warnings_of(study) == ["section 'validation' holds no labelled image of modality 't2'"]
    edit(study, lambda content: content.update(test=content["training"], training=[]))
    assert warnings_of(study) == ["the section 'training' is empty"]
    edit(study, lambda content: content.update(test=[], validation=[]))
    assert check_datalist(study).errors == ["no section holds an item"]


def test_one_image_under_two_names(study):
    """Other name, other compression, other order of the axes."""
    image = nib.load(study.parent / "images" / "p1_t1.nii.gz")
    write(study.parent / "copy.nii", *permuted(np.asarray(image.dataobj), image.affine, (2, 0, 1), (1,)))

    def change(content):
        one = item(content, "p3", "t1")
        one["image"] = "copy.nii"
        del one["label"]

    edit(study, change)
    (found,) = warnings_of(study)
    assert "copy.nii (p3, t1) has the voxels of " in found
    assert found.endswith("p1_t1.nii.gz (p1, t1): is it the same image?")


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([[0, 1]], "must be an object {modality: {slice: slice}}, got [[0, 1]]"),
        ({"pet": {"0": 0}}, "'pet' is not another modality of ['t1', 't2']"),
        ({"t1": {"0": 0}}, "'t1' is not another modality"),
        ({"t2": [1, 2]}, "the table to t2 must be an object {slice: slice}, got [1, 2]"),
        (
            {"t2": {"0": "one", "a": 1, "-1": 2, "2": 1.5}},
            "whole numbers from 0, got 0 -> one, a -> 1, -1 -> 2, 2 -> 1.5",
        ),
        (None, "must be an object {modality: {slice: slice}}, got None"),
        ({"t2": {"01": 1, "1": True}}, "whole numbers from 0, got 01 -> 1, 1 -> True"),
        ({"t2": {"5": 0}}, "slices to t2 must lie in 0 to 4 and 0 to 5, got 5 -> 0"),
        ({"t2": {"4": 6, "0": 5}}, "slices to t2 must lie in 0 to 4 and 0 to 5, got 4 -> 6"),
        ({"t2": {"4": 5, "0": 0}}, None),
    ],
)
def test_tables_of_pairs(study, pairs, said):
    edit(study, lambda content: item(content, "p1", "t1").update(pairs=pairs))
    errors = check_datalist(study).errors
    if said is None:
        assert errors == []
    else:
        assert len(errors) == 1
        assert "p1_t1.nii.gz: 'pairs' of subject 'p1', t1: " in errors[0]
        assert said in errors[0]


def test_a_table_to_an_image_that_is_not_there(study):
    def change(content):
        item(content, "p1", "t1")["pairs"] = {"t2": {"0": 9}}
        content["training"].remove(item(content, "p1", "t2"))

    edit(study, change)
    assert "the subject has no image of t2, which the table pairs" in warnings_of(study)[0]


def test_images_paired_by_hand_may_lie_anywhere(study):
    for kind in ("images", "labels"):
        path = study.parent / kind / "p1_t2.nii.gz"
        image = nib.load(path)
        affine = image.affine.copy()
        affine[2, 3] += 500
        write(path, np.asarray(image.dataobj), affine)
    assert any("no slice of t2 lies near a slice of t1" in one for one in warnings_of(study))
    edit(study, lambda content: item(content, "p1", "t1").update(pairs={"t2": {"1": 1}}))
    assert warnings_of(study) == []


def test_voxels_of_another_unit(study):
    for kind in ("images", "labels"):
        for modality in GRIDS:
            path = study.parent / kind / f"p4_{modality}.nii.gz"
            image = nib.load(path)
            write(path, np.asarray(image.dataobj), np.diag([0.1, 0.1, 0.1, 1]) @ image.affine)  # written as cm
    found = warnings_of(study)
    assert len(found) == 2
    assert found[0].endswith(
        "p4_t1.nii.gz: subject 'p4', t1: spacing 0.42 x 0.46 x 1.2 mm, the median of 4 images is 4.2 x 4.6 x 12"
    )


def test_odd_sizes_of_two_images(tmp_path):
    study = write_study(tmp_path, {"t1": GRIDS["t1"]}, ("p1", "p2"))
    thin = (140, 13, 5)
    affine = centered_affine(thin, (0.5, 4.2, 12.0))
    image, label = body(thin, affine)
    write(study.parent / "images" / "p2_t1.nii.gz", image, affine)
    write(study.parent / "labels" / "p2_t1.nii.gz", label, affine)
    (found,) = warnings_of(study)
    assert "subject 'p2', t1: size 13 x 140 x 5, that of the other image is 13 x 14 x 5" in found


def test_orders_of_axes_and_planes_are_notes(study):
    for kind in ("images", "labels"):
        path = study.parent / kind / "p2_t1.nii.gz"
        image = nib.load(path)
        write(path, *permuted(np.asarray(image.dataobj), image.affine, (1, 0, 2), (0,)))
    report = check_datalist(study)
    assert report.warnings == []
    assert "modality 't1' is stored with its axes in several orders: RAS 3, PRS 1" in report.notes
    upright = (14, 5, 13)
    affine = np.eye(4)
    affine[:3, :3] = np.diag([4.6, 12.0, 4.2])
    affine[:3, 3] = CENTER - affine[:3, :3] @ ((np.array(upright) - 1) / 2)
    for kind, array in zip(("images", "labels"), body(upright, affine), strict=True):
        write(study.parent / kind / "p3_t1.nii.gz", array, affine)
    assert "modality 't1' has slices of several planes: axial 3, coronal 1" in check_datalist(study).notes


def test_visits_of_one_person(study):
    """Each is a subject of its own, and folds go by the person."""

    def change(content):
        for one in content["training"]:
            one.update(visit=one["subject"], subject="anna" if one["subject"] in ("p1", "p3") else "bert")

    edit(study, change)
    report = check_datalist(study, thumbnails=True)
    assert report.errors == report.warnings == []
    assert "training: 2 subjects in 4 visits; t1 4 (4 labelled), t2 4 (4 labelled)" in report.summary()
    assert [one.thumb.text for one in report.volumes[:2]] == ["[3/5]", "[3/6] 5.0 mm off"]
    edit(study, lambda content: [one.update(fold=int(one["visit"] == "p3")) for one in content["training"]])
    assert check_datalist(study).errors == ["person 'anna' is in several folds: ['0', '1']"]


def test_long_lists_are_shortened_by_kind():
    lost = [f"training[{place}]: /data/a b/p{place}.nii.gz: no such file." for place in range(22)]
    other = ["subject 's1' is in several folds: ['0', '1']"]
    shown = digest([*lost[:11], *other, *lost[11:]])
    assert shown == [*lost[:5], "... and 17 more like this", *other]
    assert digest(lost[:6]) == lost[:6]  # one more is as short as saying so


def masks_told(study):
    return [told for told in warnings_of(study) if "looks like a label" in told]


def test_a_mask_that_was_taken_for_an_image(study):
    """Its name was typed wrong: a visit of its own without a label, and the image that it is of has none."""

    def change(content):
        label = item(content, "p2", "t1").pop("label")
        content["training"].append({"image": label, "modality": "t1", "subject": "p2_sge", "fold": 1})

    edit(study, change)
    (told,) = masks_told(study)
    assert (
        "labels/p2_t1.nii.gz (p2_sge, t1) looks like a label file: it has no label, and its values are 0, 1, 2" in told
    )
    rewrite(study, "labels/p2_t1", lambda label: label.astype(np.int16) * 100)  # as before its values were mapped
    assert masks_told(study) == []
    edit(study, lambda content: content.update(meta={"label_values": {"0": 0, "100": 1, "200": 2}}))
    assert "values are 0, 100, 200, as of labels" in masks_told(study)[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: (image * 10 - 1200).round().astype(np.int16),  # CT in whole Hounsfield units
        lambda image: image.round().clip(0, 255).astype(np.uint8),  # 8 bits
        lambda image: (image > 250).astype(np.float32) * image,  # an erased background, fractions
        lambda image: (image / 100).round().astype(np.uint8) * 85,  # few values, no label's
        lambda image: image / image.max(),
    ],
)
def test_images_without_a_label_that_are_no_masks(study, change):
    edit(study, lambda content: [item(content, subject, "t1").pop("label") for subject in ("p1", "p2")])
    rewrite(study, "images/p1_t1", change)
    assert masks_told(study) == []


def test_a_blank_image_is_told_as_that_alone(study):
    edit(study, lambda content: item(content, "p1", "t1").pop("label"))
    rewrite(study, "images/p1_t1", lambda image: image * 0)
    report = check_datalist(study)
    assert [told for told in report.warnings if "looks like a label" in told] == []
    assert len(report.errors) == 1
    assert report.errors[0].endswith("the image is constant (0); a missing one has no entry")


def test_one_broken_item_is_one(study, capsys):
    (study.parent / "images" / "p1_t1.nii.gz").unlink()
    assert main(["data", "check", str(study), "--no_sheet"]) == 1
    assert capsys.readouterr().out.endswith("\n1 broken item.\n")


def test_strict(study, capsys):
    words = ["data", "check", str(study), "--no_sheet"]
    assert main([*words, "--strict"]) == 0
    edit(study, lambda content: content["modalities"].append("flair"))
    assert main(words) == 0
    assert main([*words, "--strict", "--workers", "2"]) == 1
    said = capsys.readouterr().out
    assert "warnings (1):\n  - modality 'flair' is declared and has no training image" in said
    assert said.count("No broken item.") == 3


def test_names_that_windows_cannot_have(study):
    edit(study, lambda content: [one.update(subject="CON") for one in content["training"] if one["subject"] == "p1"])
    assert "subject 'CON' cannot name files on Windows: it is the name of a device there" in warnings_of(study)
