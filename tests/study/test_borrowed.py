# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Masks of a baseline as labels of a study's training images."""

from __future__ import annotations

import json
import shutil

import pytest

from monai_mmseg import baselines
from monai_mmseg.data import read_datalist
from monai_mmseg.study import METHODS, CellResult, run_study
from monai_mmseg.study import runner as module
from monai_mmseg.study.borrowed import borrowed_data
from monai_mmseg.study.contents import settle_changes
from monai_mmseg.study.definition import study_of
from monai_mmseg.study.facts import find_facts, refusal
from monai_mmseg.study.plans import Plans
from tests.synthetic_volumes import edit, write_study

METHOD = METHODS["unet_registered_masks"]._replace(package="")
GRID = ((8, 8, 4), (8, 8, 12))


@pytest.fixture
def data(tmp_path):
    """Five subjects, the last one to be tested; LGE of s2 has a label of its own in training."""
    path = write_study(tmp_path / "data", {"cine": GRID, "lge": GRID}, subjects=("s1", "s2", "s3", "s4", "s5"))
    items = json.loads(path.read_text(encoding="utf-8"))["training"]
    for item in items[:-2]:
        if item["modality"] == "lge" and item["subject"] != "s2":
            del item["label"]
    edit(path, lambda c: c.update(training=items[:-2], test=items[-2:], target="lge"))
    return path


@pytest.fixture
def asked(monkeypatch):
    """Subjects that were registered; their mask is the source's label."""
    subjects: list[list[str]] = []

    def register_baseline(items, source, target, out, **_):
        labels = {one["subject"]: one["label"] for one in items if one["modality"] == source}
        subjects.append(list(labels))
        out.mkdir(parents=True, exist_ok=True)
        return {name: shutil.copy(label, out / f"{name}_lge_seg.nii.gz") for name, label in labels.items()}

    monkeypatch.setattr(baselines, "register_baseline", register_baseline)
    return subjects


def test_only_what_lacks_a_label_is_registered_and_once(data, asked, tmp_path):
    facts = find_facts(read_datalist(data))
    folder, own, used = borrowed_data(METHOD, data.parent, facts)
    assert borrowed_data(METHODS["dafnet_registered_masks"], data.parent, facts) == (folder, own, used)
    assert asked == [["s1", "s3", "s4"]]
    assert (facts.labelled["lge"], facts.lent, own.labelled["lge"], own.lent) == (1, 3, 4, 0)
    items = [one for one in read_datalist(folder / "datalist.json").items("training") if one["modality"] == "lge"]
    assert [one.get("label_source") for one in items] == ["register of cine", None, *["register of cine"] * 2]
    assert used.clock > 0
    assert refusal(METHOD, facts) == ""
    assert refusal(METHOD, own) == "no training image of lge lacks a label that its cine has"


def test_seeds_and_methods_share_the_masks_and_each_is_charged(data, asked, tmp_path, monkeypatch):
    ran = []

    def run_cell(method, trainings, cell, folder, data, facts, *, before, **_):
        ran.append((method.name, cell.seed, data, facts.labelled["lge"], before))
        return CellResult(cell, folder, "failed", "not trained")

    monkeypatch.setattr(module, "run_bundle_cell", run_cell)
    monkeypatch.setattr(module, "warm_up", lambda: None)
    timed = []
    monkeypatch.setattr(Plans, "trainings", lambda self, method, data: timed.append(data) or [])
    monkeypatch.setattr(module._Run, "_planned", lambda *_: "")
    names = ["unet_registered_masks", "dafnet_registered_masks"]
    study = study_of(
        {
            "datalist": str(data),
            "methods": names,
            "seeds": [0, 1],
            "steps": 2,
            "settings": {"none": {"labels": {"lge": 0}}},
        }
    )
    run_study(study, tmp_path / "out", say=str, lanes=2)
    own = tmp_path / "out" / "data" / "none" / "fold0" / "register"
    assert asked == [["s1", "s2", "s3", "s4"]]  # the setting has taken the label of s2 away
    assert timed == [own, own]  # steps without a label would cost less
    assert {one[:2] for one in ran} == {(name, seed) for name in names for seed in (0, 1)}
    assert {one[2:] for one in ran} == {(own, 4, ran[0][4])}
    settle_changes(tmp_path / "out", "none", 0, {"training s1 lge": "other"}, str)
    assert not own.exists()
