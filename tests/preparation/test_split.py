# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from monai_mmseg.preparation import assign_folds, write_folds


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
