# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from monai_mmseg.data.datalist import Datalist, read_datalist
from monai_mmseg.study import StudyError
from monai_mmseg.study.data import kept_label, source_data, target_of, write_fold
from monai_mmseg.study.definition import Setting, study_of
from monai_mmseg.study.facts import find_facts
from tests.study.listed import listed, write_listed


def subjects(found: Datalist, section: str = "training", **wanted: object) -> set[str]:
    items = found.items(section)
    return {item["subject"] for item in items if all(item.get(key) == value for key, value in wanted.items())}


def labelled(found: Datalist, modality: str, fold: int) -> int:
    return sum(
        "label" in item for item in found.items("training") if (item["modality"], item["fold"]) == (modality, fold)
    )


def test_with_a_test_section_the_fold_watches(tmp_path):
    found = write_fold(listed(tmp_path), Setting("all"), 1, tmp_path / "study" / "fold1")
    assert subjects(found, fold=0) == {"s1", "s4"}
    assert subjects(found, fold=1) == {"s0", "s2", "s3", "s5"}
    assert subjects(found, "test") == {"s6", "s7"}
    assert Path(found.items("training")[0]["image"]).resolve() == tmp_path / "cine1.nii.gz"


@pytest.mark.parametrize(
    ("fold", "tested", "watched"), [(0, {"s0", "s3"}, {"s1", "s4"}), (2, {"s2", "s5"}, {"s0", "s3"})]
)
def test_without_one_the_fold_is_tested_and_the_next_watches(tmp_path, fold, tested, watched):
    found = write_fold(listed(tmp_path, test=0), Setting("all"), fold, tmp_path / "fold")
    assert (subjects(found, "test"), subjects(found, fold=0)) == (tested, watched)
    assert not subjects(found, "test") & subjects(found)


def test_a_setting_may_have_a_datalist_of_its_own(tmp_path):
    write_listed(tmp_path / "moved")
    raw = {
        "datalist": "datalist.json",
        "methods": ["copy"],
        "settings": {"a": {}, "b": {"datalist": "moved/datalist.json"}},
    }
    study = study_of(raw, listed(tmp_path).path.parent)
    places = [source_data(study, one, tmp_path / "out").path.parent for one in study.settings]
    assert places == [tmp_path, tmp_path / "moved"]
    assert "datalist" not in study.content()["settings"]["a"]  # studies that were begun before go on
    path = tmp_path / "moved" / "datalist.json"
    path.write_text(path.read_text(encoding="utf-8").replace("LV", "RV"), encoding="utf-8")
    with pytest.raises(StudyError, match="settings: b: .* has labels .*'RV'.*, the study has .*'LV'"):
        source_data(study, study.settings[1], tmp_path / "out")


def test_a_setting_may_test_other_images(tmp_path):
    write_listed(tmp_path / "odd", test=3)
    raw = {"datalist": "datalist.json", "methods": ["copy"], "settings": {"odd": {"test": "odd/datalist.json"}}}
    study = study_of(raw, listed(tmp_path).path.parent)
    found = write_fold(source_data(study, study.settings[0], tmp_path), study.settings[0], 0, tmp_path / "fold")
    assert subjects(found, "test") == {"s6", "s7", "s8"}
    assert {Path(item["image"]).resolve().parent for item in found.items("test")} == {tmp_path / "odd"}
    assert {Path(item["image"]).resolve().parent for item in found.items("training")} == {tmp_path}
    with pytest.raises(StudyError, match="settings: odd: there is no .*gone.json"):
        source_data(study, study.settings[0]._replace(test="gone.json"), tmp_path)
    path = tmp_path / "odd" / "datalist.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "ignore": 255}), encoding="utf-8")
    found = write_fold(source_data(study, study.settings[0], tmp_path), study.settings[0], 0, tmp_path / "fold")
    assert found.ignore == 255  # also where the study's own labels have no such voxels
    path.write_text(json.dumps({**content, "test": []}), encoding="utf-8")
    with pytest.raises(StudyError, match="settings: odd: .*odd/datalist.json has no test section"):
        source_data(study, study.settings[0], tmp_path)


def test_the_target_is_that_of_the_study_whatever_its_settings_would_choose(tmp_path):
    write_listed(tmp_path / "moved", bare=("cine",))
    settings = {"moved": {"datalist": "moved/datalist.json"}}
    raw = {"datalist": "datalist.json", "methods": ["copy"], "settings": settings}
    study = study_of(raw, listed(tmp_path).path.parent)
    assert find_facts(source_data(study, study.settings[0], tmp_path)).target == "cine"
    assert (target_of(study), target_of(replace(study, target="cine"))) == ("lge", "cine")
    assert target_of(study_of({"phantom": {}, "methods": ["copy"]})) is None


@pytest.mark.parametrize(
    ("amount", "learning", "watching"), [(0.5, 2, 2), (1, 1, 2), (3, 3, 2), (0, 0, 0), (0.0, 0, 0)]
)
def test_labels_are_taken_away(tmp_path, amount, learning, watching):
    found = write_fold(listed(tmp_path), Setting("few", {"lge": amount}), 0, tmp_path / "fold")
    assert (labelled(found, "lge", 1), labelled(found, "lge", 0)) == (learning, watching)
    assert labelled(found, "cine", 1) == 4
    assert find_facts(found).target == "lge"
    assert find_facts(found).labelled == {"cine": 6, "lge": learning + watching}
    assert all("label" in item for item in found.items("test"))


def test_smaller_shares_are_part_of_larger_ones(tmp_path):
    data, kept = listed(tmp_path, subjects=24), {}
    for amount in (0.25, 0.5):
        found = write_fold(data, Setting("few", {"lge": amount}), 0, tmp_path / "fold")
        items = [item for item in found.items("training") if item["modality"] == "lge" and item["fold"] == 1]
        kept[amount] = {item["subject"] for item in items if "label" in item}
    assert (len(kept[0.25]), len(kept[0.5])) == (4, 8)
    assert kept[0.25] < kept[0.5]


def test_voxels_that_nobody_annotated_stay_so(tmp_path):
    data = replace(listed(tmp_path), ignore=255)
    assert write_fold(data, Setting("all"), 0, tmp_path / "fold").ignore == 255


def test_without_a_test_section_the_folds_are_tested(tmp_path):
    assert find_facts(listed(tmp_path, test=0)).tested == {"cine": 6, "lge": 6}


def test_predictions_of_one_name_are_refused_before_anything_runs(tmp_path):
    data = listed(tmp_path)
    for item in data.items("test"):  # their modality tells them apart
        item["image"] = str(tmp_path / item["modality"] / f"{item['subject']}.nii.gz")
    write_fold(data, Setting("all"), 0, tmp_path / "fold")
    first, second = (item for item in data.items("test")[:4] if item["modality"] == "lge")
    first["image"], second["image"] = str(tmp_path / "7_lge.nii.gz"), str(tmp_path / "lge.nii.gz")
    second["subject"] = f"{first['subject']}_7"
    with pytest.raises(StudyError, match="two predictions would be named"):
        write_fold(data, Setting("all"), 0, tmp_path / "fold")


def test_what_cannot_be(tmp_path):
    for settings, given, message in (
        ({"test": 0, "folds": 2}, (Setting("all"), 0), "without a test section, three folds are needed"),
        ({"folds": 1}, (Setting("all"), 0), "two folds at least"),
        ({}, (Setting("all"), 3), "there is no fold 3, only"),
        ({}, (Setting("few", {"t2": 0.5}), 0), "labels of 't2'"),
        ({}, (Setting("few", {"lge": 5}), 0), "5 subjects are asked for, 4 train with labels"),
    ):
        with pytest.raises(StudyError) as error:
            write_fold(listed(tmp_path, **settings), *given, tmp_path / "fold")
        assert message in str(error.value)
    with pytest.raises(StudyError, match="target must be one of"):
        find_facts(listed(tmp_path), "t2")
    with pytest.raises(StudyError, match="lge is the target: name another one"):
        find_facts(listed(tmp_path), source="lge")


def test_who_trains_is_not_tested(tmp_path):
    data = listed(tmp_path)
    data.items("training")[1]["fold"] = 1
    data.items("test")[0]["subject"] = "s2"
    with pytest.raises(StudyError, match=r"'s0' is in several folds: \['0', '1'\]; .*'s2' is in several sections"):
        write_fold(data, Setting("all"), 0, tmp_path / "fold")


def test_shares_are_of_the_labels_that_are_there(tmp_path):
    data = listed(tmp_path)
    for at, item in enumerate(data.items("training")):
        if item["modality"] == "lge" and at > 5:  # s3 to s5 have no label
            del item["label"]
    assert labelled(write_fold(data, Setting("half", {"lge": 0.5}), 0, tmp_path / "fold"), "lge", 1) == 1  # of s1, s2
    with pytest.raises(StudyError, match="labels of lge: 0.2 of the 2 subjects that train with labels is none"):
        write_fold(data, Setting("few", {"lge": 0.2}), 0, tmp_path / "fold")


def test_a_phantom_that_no_cell_has_seen_is_the_one_that_is_asked_for(tmp_path):
    small = {"kind": "heart", "subjects": 1, "test_subjects": 0, "size": 32, "modalities": ["cine"]}
    first, second = (study_of({"phantom": {**small, "seed": seed}, "methods": ["copy"]}) for seed in (0, 1))
    source_data(first, first.settings[0], tmp_path)
    with pytest.raises(StudyError, match="is another phantom, of a call that trained nothing: remove it"):
        source_data(second, second.settings[0], tmp_path)
    (tmp_path / "cells").mkdir()
    source_data(second, second.settings[0], tmp_path)  # its study has cells, and was compared with this one


def test_labels_of_a_subject_go_together(tmp_path):
    found = write_fold(listed(tmp_path), Setting("two", {"all": 2}), 0, tmp_path / "fold0")
    assert len({item["subject"] for item in found.items("training") if item["fold"] and "label" in item}) == 2
    assert labelled(found, "cine", 1) == labelled(found, "lge", 1) == 2
    with pytest.raises(StudyError, match="labels of 'flair': there are .*, and 'all'"):
        write_fold(listed(tmp_path), Setting("two", {"flair": 2}), 0, tmp_path / "fold0")


def test_a_label_that_sequences_share_is_not_taken_away_from_one(tmp_path):
    own, one = listed(tmp_path), Setting("half", {"lge": 0.5})
    assert not kept_label(own, one)
    for item in own.sections["training"]:
        item["label"] = str(item["label"]).replace("lge", "cine")
    assert "those of cine too" in kept_label(own, one)
    assert not kept_label(own, Setting("half", {"all": 0.5}))


@pytest.mark.parametrize(
    ("phantom", "wanted"),
    [
        (False, "nobody is left to train: the section 'training' is empty."),
        (True, "nobody is left to train: make the phantom with fewer 'test_subjects', or more 'subjects' or 'folds'."),
    ],
)
def test_a_list_of_tested_subjects_alone(tmp_path, phantom, wanted):
    path = listed(tmp_path).path
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "training": []}), encoding="utf-8")
    if phantom:
        (tmp_path / "phantom.json").write_text("{}")
    with pytest.raises(StudyError, match=wanted):
        write_fold(read_datalist(path), Setting("all"), 0, tmp_path / "fold")
