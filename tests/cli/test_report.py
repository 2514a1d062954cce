# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``mmseg quality`` on predictions of subjects that lack an image, of two modalities, and of a list that disagrees."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch

from monai_mmseg.bundle.seen import SEEN, item_marks
from monai_mmseg.cli.main import main
from monai_mmseg.evaluation.quality import Quality, write_quality
from monai_mmseg.runs.model_settings import write_settings
from tests.synthetic_volumes import write_study


def test_quality_is_compared_on_the_grid_that_was_predicted(tmp_path, capsys, caplog):
    """Of a subject without the image that is segmented; one without a label is named."""
    names = ("s1", "s2", "s3", "s4", "s5")
    study = write_study(tmp_path, {"cine": ((8, 8, 4), (8, 8, 12)), "lge": ((9, 8, 4), (8, 8, 12))}, subjects=names)
    content = json.loads(study.read_text())
    items = [one for one in content["training"] if (one["modality"] == "lge") == (one["subject"] in ("s1", "s2"))]
    for one in items:
        if one["subject"] != "s5":  # whom nobody predicted
            stem = one["image"].rpartition("/")[2].removesuffix(".nii.gz")
            (tmp_path / "out").mkdir(exist_ok=True)
            shutil.copy(tmp_path / one["label"], tmp_path / "out" / f"{stem}_seg.nii.gz")
        if one["subject"] == "s4":
            del one["label"]
    study.write_text(json.dumps({**content, "training": items}))
    name = content["labels"]["1"]
    rows = [Quality(one, "lge", name, math.nan, at / 10, at / 10, 0.1, "shift") for at, one in enumerate(names[:4])]
    write_quality(tmp_path / "out" / "quality.csv", rows)
    assert main(["quality", str(study), str(tmp_path / "out"), "--section", "training"]) == 0
    err = capsys.readouterr().err
    assert "1 of 4 lines have no true label in training: s4" in err
    assert "weights that were trained on these subjects are sure of them" in err
    assert "Without an image of lge, scored on the grid of another: s3 on cine." in caplog.text


SUBJECTS = ("s1", "s2", "s3")


@pytest.fixture
def predicted(tmp_path):
    """Of two modalities of three subjects; the labels are the predictions."""
    study = write_study(tmp_path, {"ct": ((8, 8, 4), (8, 8, 12)), "mr": ((9, 8, 4), (8, 8, 12))}, subjects=SUBJECTS)
    content, rows = json.loads(study.read_text()), []
    (tmp_path / "out").mkdir()
    for one in content["training"]:
        stem = one["image"].rpartition("/")[2].removesuffix(".nii.gz")
        shutil.copy(tmp_path / one["label"], tmp_path / "out" / f"{stem}_seg.nii.gz")
        classes = [name for value, name in content["labels"].items() if value != "0"]
        at = 0.5 + int(one["subject"][1]) / 10
        rows += [Quality(one["subject"], one["modality"], name, math.nan, at, at, 0.1, "shift") for name in classes]
    return study, tmp_path / "out", rows


def quality(study, out, *more):
    return main(["quality", str(study), str(out), "--section", "training", *more])


def test_a_list_with_the_classes_in_another_order_is_refused(predicted, capsys):
    """Else the Dice of one class would be that of another."""
    study, out, rows = predicted
    content = json.loads(study.read_text())
    names = list(content["labels"].values())
    assert len(names) > 2
    write_quality(out / "quality.csv", rows)
    assert quality(study, out) == 0
    other = [names[0], *names[:0:-1]]
    study.write_text(json.dumps({**content, "labels": dict(zip(content["labels"], other, strict=True))}))
    assert quality(study, out) != 0
    err = capsys.readouterr().err
    assert f"has the classes in the order {', '.join(names[1:])}" in err
    assert "one value means two classes" in err


def test_what_is_left_out_is_named(predicted, capsys):
    study, out, rows = predicted
    rows[0] = rows[0]._replace(expected_dice=math.nan)
    write_quality(out / "quality.csv", [row for row in rows if (row.subject, row.modality) != ("s2", "ct")])
    assert quality(study, out, "--modality", "ct") == 0
    found = capsys.readouterr()
    assert "no true label" not in found.err  # those of MR were not asked for
    assert "quality.csv has no line of s2: left out" in found.err
    assert "expected_dice is left out: it is not there for s1" in found.err
    assert "pairwise_dice" in found.out


def test_a_modality_that_nothing_is_of_is_named_beside_those_there_are(predicted, capsys):
    study, out, rows = predicted
    write_quality(out / "quality.csv", rows)
    assert quality(study, out, "--modality", "pet") == 1
    assert f"--modality pet, and section 'training' of {study} has images of ct, mr: give" in capsys.readouterr().err
    write_quality(out / "quality.csv", [row._replace(modality="pet") for row in rows if row.modality == "ct"])
    assert quality(study, out) == 1
    assert "quality.csv is of pet, and section 'training'" in capsys.readouterr().err


def test_a_line_that_tells_no_good_from_bad_is_told(predicted, tmp_path, capsys):
    """All labels are right here, whatever was foretold."""
    study, out, rows = predicted
    write_quality(out / "quality.csv", rows)
    torch.save({}, tmp_path / "model.pt")
    assert quality(study, out, "--fit", str(tmp_path)) == 0
    told = "does not rise with Dice among these subjects, so all images and classes are foretold their mean, 1.000"
    assert told in capsys.readouterr().err


def test_subjects_that_the_weights_have_seen_are_named_whatever_the_list_says(predicted, tmp_path, capsys):
    study, out, rows = predicted
    write_quality(out / "quality.csv", rows)
    torch.save({}, tmp_path / "model.pt")
    marks = [mark for name in ("s1_ct", "s2_ct") for mark in _marks(study, name)]
    write_settings(tmp_path, {SEEN: {"trained": marks, "watched": []}})
    assert quality(study, out, "--fit", str(tmp_path)) == 0
    assert "model.pt was trained on 2 of these subjects (first: s1)" in capsys.readouterr().err


def _marks(study, name):
    item = next(one for one in json.loads(study.read_text())["training"] if name in one["image"])
    return item_marks({"image": str(study.parent / item["image"])})
