# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os

import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.data import find_leaks, load_datalist, read_datalist
from monai_mmseg.preparation import assign_folds, write_folds, write_test_folds


def item(subject, modality="a"):
    return {"image": f"{subject}/{modality}.nii.gz", "modality": modality, "subject": subject}


def test_folds_are_by_subject_even_and_seeded():
    items = [item(f"s{n}", modality) for n in range(11) for modality in "ab"]
    folded = assign_folds(items, 4, seed=3)
    of = {}
    for one in folded:
        of.setdefault(one["subject"], set()).add(one["fold"])
    assert all(len(folds) == 1 for folds in of.values())
    sizes = [sum(folds == {fold} for folds in of.values()) for fold in range(4)]
    assert sorted(sizes) == [2, 3, 3, 3]
    assert folded == assign_folds(items, 4, seed=3)
    assert folded != assign_folds(items, 4, seed=4)
    assert "fold" not in items[0]
    with pytest.raises(ValueError, match=r"number of subjects \(11\), got 12"):
        assign_folds(items, 12)


def test_writing_folds_keeps_the_rest(tmp_path):
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({"training": [item(f"s{n}") for n in range(4)], "description": "kept"}))
    write_folds(path, folds=2)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["description"] == "kept"
    assert content["training"][0]["image"] == "s0/a.nii.gz"
    assert sorted(one["fold"] for one in content["training"]) == [0, 0, 1, 1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["datalist.json"]
    with pytest.raises(ValueError, match="out must lie in the folder"):
        write_folds(path, tmp_path / "other" / "list.json", folds=2)


@pytest.mark.parametrize(("ct", "mr", "folds"), [(30, 9, 5), (20, 20, 4), (3, 2, 2)])
def test_folds_of_unpaired_subjects_get_their_share_of_both(ct, mr, folds):
    items = [{"subject": f"s{place}", "modality": "ct" if place < ct else "mr"} for place in range(ct + mr)]
    for seed in range(3):
        dealt = assign_folds(items, folds, seed)
        for modality in ("ct", "mr"):
            counts = [sum((i["fold"], i["modality"]) == (fold, modality) for i in dealt) for fold in range(folds)]
            assert max(counts) - min(counts) <= 1
    assert dealt != assign_folds(items, folds, 0)


def test_visits_of_a_person_are_in_one_fold(tmp_path):
    path = tmp_path / "datalist.json"
    items = [{**item(f"s{n}"), "image": f"s{n}/{v}.nii.gz", "visit": v} for n in range(4) for v in ("ed", "es")]
    path.write_text(json.dumps({"training": items}))
    write_folds(path, folds=4)
    folds = {}
    for one in load_datalist(path):
        folds.setdefault(one["person"], set()).add(one["fold"])
    assert sorted(map(sorted, folds.values())) == [[0], [1], [2], [3]]
    with pytest.raises(ValueError, match=r"number of subjects \(4\), got 5"):
        write_folds(path, folds=5, overwrite=True)


@pytest.fixture
def unpaired(tmp_path):
    """9 CT and 6 MR with labels, an MR for training and one for testing without, and a visit more of one."""
    labelled = [
        {**item(f"{kind}{n}", kind), "label": f"labels/{kind}{n}.nii.gz"}
        for kind, count in (("ct", 9), ("mr", 6))
        for n in range(count)
    ]
    labelled.append({**labelled[0], "image": "later.nii.gz", "label": "labels/later.nii.gz", "visit": "2"})
    path = tmp_path / "datalist.json"
    training = [*labelled[2:], item("bare", "mr")]
    path.write_text(
        json.dumps(
            {
                "modalities": ["ct", "mr"],
                "labels": {"0": "background", "1": "liver"},
                "training": [{**one, "fold": 7} for one in training if one["subject"] != "ct0"],
                "validation": [one for one in labelled if one["subject"] == "ct0"],
                "test": [labelled[1], item("secret", "mr")],
            }
        )
    )
    return path


def test_lists_of_more_turns_do_not_stay_beside_fewer(unpaired):
    write_test_folds(unpaired, tests=3, folds=2)
    with pytest.raises(FileExistsError, match=r"test2.datalist.json is of a cross-validation with more turns"):
        write_test_folds(unpaired, tests=2, folds=2, overwrite=True)


def test_every_labelled_person_is_tested_once(unpaired):
    made = write_test_folds(unpaired, tests=3, folds=2, seed=1)
    assert [path.parent.name for path in made.lists] == ["test0", "test1", "test2"]
    assert made.left_out == ["secret"]
    tested = []
    for path in made.lists:
        listed = read_datalist(path)
        assert (listed.modalities, listed.labels[1]) == (["ct", "mr"], "liver")
        assert find_leaks(listed.sections) == []
        assert listed.sections.keys() == {"training", "test"}
        training, test = (listed.items(name) for name in ("training", "test"))
        persons = [{one.get("person", one["subject"]) for one in items} for items in (training, test)]
        assert persons[0] & persons[1] == set()
        assert len(persons[0] | persons[1]) == 16
        assert "bare" in persons[0]
        assert {one["fold"] for one in training} == {0, 1}
        assert not any("fold" in one for one in test)
        for name, count in (("ct", 3), ("mr", 2)):
            assert len({one.get("person", one["subject"]) for one in test if one["modality"] == name}) == count
        tested += persons[1]
        # files lie where they lay, as seen from the new list
        images = {os.path.normpath(one["image"]) for one in [*training, *test]}
        assert str(unpaired.parent / "ct3" / "ct.nii.gz") in images
        assert '"../ct3/ct.nii.gz"' in path.read_text(encoding="utf-8")
    assert len(tested) == len(set(tested)) == 15


def test_lists_of_a_cross_validation_on_the_command_line(unpaired, capsys):
    words = ["data", "split", str(unpaired), "--test", "3", "--folds", "2"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "in no list, since they have no label to test with: secret" in said
    assert f"--dataset_dir {unpaired.parent}/test0" in said
    spaced = unpaired.parent / "two words"
    assert main([*words, "--out", str(spaced)]) == 0
    said = capsys.readouterr().out
    assert f"mmseg plan '{spaced}/test0/datalist.json', or a bundle with --dataset_dir '{spaced}/test0';" in said
    assert main(words) == 1
    assert "test0/datalist.json is there already, and 2 more files" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    for given, message in (
        (["--test", "1"], "test must be 2 folds or more, got 1"),
        (["--test", "7"], "7 test folds need at least 7 subjects with a label of each labelled modality, there"),
        (
            ["--test", "2", "--folds", "20"],
            "2 test folds leave 8 subjects to train, which can be dealt into 2 to 8 folds",
        ),
    ):
        assert main([*words[:3], *given, "--out", str(unpaired.parent / "new")]) == 1
        assert message in capsys.readouterr().err
    assert not (unpaired.parent / "new").exists()
    content = json.loads(unpaired.read_text(encoding="utf-8"))
    content["test"].append({**content["training"][0], "visit": "9"})
    unpaired.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is in training and in test"):
        write_test_folds(unpaired, tests=2)


def test_a_fold_without_a_modality_is_told(tmp_path, capsys):
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({"training": [*(item(f"c{n}", "ct") for n in range(4)), item("m", "mr")]}))
    assert main(["data", "split", str(path), "--folds", "2"]) == 0
    assert "has no mr: fewer folds would give each its share" in capsys.readouterr().out
