# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The page of a study: finished or not, of many methods or one, and safe with any text."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

from monai_mmseg.data import read_datalist
from monai_mmseg.evaluation import Score
from monai_mmseg.files import write_nifti
from monai_mmseg.study import Cell
from monai_mmseg.study import page as page_module
from monai_mmseg.study.content import read_study
from monai_mmseg.study.contents import contents, settle_changes
from monai_mmseg.study.data import write_fold
from monai_mmseg.study.definition import Setting
from monai_mmseg.study.page import write_page
from monai_mmseg.study.results import facts
from monai_mmseg.study.rows import blocks, count_text
from monai_mmseg.study.tested import run_tests
from tests.report.test_page import NASTY, Page
from tests.study.listed import listed
from tests.study.synthetic_study import add_cell, add_refused, define, scores

COPY, UNET, OURS = [0.6, 0.7, 0.5, 0.6], [0.7, 0.8, 0.5, 0.7], [0.8, 0.85, 0.7, 0.75]


@pytest.fixture
def study(tmp_path):
    """Two settings; copy has one training, the others two, of which one is not there yet."""
    for setting, gain in (("target_0", 0.0), ("target_50", 0.1)):
        add_cell(tmp_path, "copy", scores("copy", COPY), setting=setting, seconds={"predicting": 2.0})
        for seed in (0, 1):
            for method, dice in (("unet", UNET), ("dafnet", OURS)):
                if (setting, method, seed) == ("target_50", "unet", 1):
                    continue
                found = scores(method, [value + gain + seed / 50 for value in dice])
                about = {"seconds": {"training": 600.0}, "steps": 100, "parameters": 34_526_149}
                add_cell(tmp_path, method, found, setting=setting, seed=seed, curve=(0.3, 0.5), **about)
    add_refused(tmp_path, "unet_target", "no training image of lge has a label")
    planned = [Cell(m, "target_50", 0, s)._asdict() for m in ("unet", "dafnet") for s in (0, 1)]
    about = {"ours": "dafnet", "published": "dafnet_eri", "budget": 600.0, "cells": planned}
    define(tmp_path, name="heart", methods={"unet": {}, "copy": {}}, **about)
    return tmp_path


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_page(study):
    path = write_page(study)
    assert path == study / "index.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "http" not in re.sub(r"https?://(www\.w3\.org|doi\.org)", "", text)
    told = ("9 done, 1 refused, 1 not finished", "unet_target refused: no training image of lge has a label")
    for wanted in (*told, "10 min 0 s", "34.5 M", "0.74 ± 0.04", "target_50/unet/fold0_seed1 (not begun)", "heart"):
        assert wanted in page.text, wanted
    assert "dafnet reaches with 0 what copy has with any number" in page.text
    svgs = [dict(attributes) for tag, attributes in page.tags if tag == "svg"]
    assert len(svgs) == 2 * 5 + 1  # boxes, two ranks (Dice, HD95), two of learning; labels


def test_nothing_is_wider_than_a_phone(study):
    add_refused(study, "dadr", "its log is /" + 30 * "long_folder/", state="failed")
    text = write_page(study).read_text(encoding="utf-8")
    assert text.count("<table") == len(re.findall(r'<div class="scroll">\s*<table', text)) > 0  # tables scroll alone
    assert re.search(r"body \{[^}]*overflow-wrap: break-word", text)  # a path has no place to break


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cells": [{"setting": "target_0", "fold": 0, "seed": 0}, 3]}, "2 of its 'cells' are left out"),
        ({"cells": {"a": 1}}, "'cells' is left out, which must be of type list."),
        ({"phantom": "heart"}, "'phantom' is left out, which must be of type dict."),
        ({"methods": {}}, ""),
    ],
)
def test_a_definition_that_somebody_wrote_into(tmp_path, changes, told):
    add_cell(tmp_path, "dafnet", scores("dafnet", [0.8]))
    define(tmp_path, **{"methods": {"dafnet": {}, "unet": {}}, **changes})
    problems = read_study(tmp_path).problems
    assert len(problems) == bool(told)
    assert all(told in one and "study.json" in one for one in problems)
    assert "dafnet" in dict(facts(read_study(tmp_path)))["methods"]


def test_files(study):
    write_page(study)
    rows = {(r["setting"], r["class"], r["method"]): r for r in rows_of(study / "table.csv")}
    ours = rows["target_0", "", "dafnet"]
    assert float(ours["dice_mean"]) == pytest.approx(np.mean(OURS) + 0.01)
    assert float(ours["dice_sd_trainings"]) == pytest.approx(0.02 / np.sqrt(2), abs=1e-6)
    assert float(ours["dice_sd_subjects"]) == pytest.approx(np.std(OURS, ddof=1), abs=1e-6)
    assert (ours["published"], ours["trainings"], ours["subjects"], ours["steps"]) == ("0.74 ± 0.04", "2", "4", "100.0")
    assert rows["target_0", "", "copy"]["dice_sd_trainings"] == ""
    assert rows["target_0", "LV", "unet"]["dice_mean"]
    assert rows["target_0", "", "unet_target"]["state"] == "refused"
    assert len(rows_of(study / "scores.csv")) == 4 * 9
    found = json.loads((study / "results.json").read_text(encoding="utf-8"))
    assert found["unfinished"] == ["target_50/unet/fold0_seed1 (not begun)"]
    tests = {(t["measure"], c["a"], c["b"]): c for t in found["settings"][0]["tests"] for c in t["comparisons"]}
    assert tests["dice", "copy", "dafnet"]["p"]["permutation"] == 0.125  # all four subjects agree
    assert tests["hausdorff95", "copy", "dafnet"]["p"]["wilcoxon"] == 1
    assert "| dafnet | 0.785 |" in (study / "table.md").read_text(encoding="utf-8")


def test_labels_that_train_are_counted(tmp_path):
    for name, share in (("target_50", 0.5), ("target_0", 0.0)):
        add_cell(tmp_path, "unet", scores("unet", [0.5]), setting=name)
        write_fold(listed(tmp_path / "x"), Setting(name, {"lge": share}), 0, tmp_path / "data" / name / "fold0")
    write_page(tmp_path)
    told = "- labels that train, fold 0: target_0: cine 4 of 4, lge 0 of 4; target_50: cine 4 of 4, lge 2 of 4"
    assert told in (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (["a 1", "a 1"], "a 1"),
        (["a 1", "a 2", "a 1"], "a 1: 2 cells; a 2: 1 cell"),
        (["", "a 1"], "not recorded: 1 cell; a 1: 1 cell"),
        ([""], None),
    ],
)
def test_cells_of_several_versions_or_machines_are_told(tmp_path, made, told):
    for seed, one in enumerate(made):
        add_cell(tmp_path, "dafnet", scores("dafnet", [0.8]), seed=seed, made=one)
    assert dict(facts(read_study(tmp_path))).get("made with") == told


def test_orders_are_those_of_the_definition(study):
    content = read_study(study)
    assert content.settings[0].methods == ["unet", "copy", "dafnet", "unet_target"]
    assert [setting.name for setting in content.settings] == ["target_0", "target_50"]
    assert content.lead() == "dafnet"
    define(study, methods=["unet_target", "unet", "copy"])
    assert read_study(study).lead() == "unet"  # the first one with scores
    (study / "study.json").write_text("{")
    content = read_study(study)
    assert content.settings[0].methods == ["copy", "dafnet", "unet", "unet_target"]
    assert content.lead(content.settings[0]) == "dafnet"  # the highest mean
    assert content.problems[0].startswith("study.json is left out")


def test_missed_organs_and_unequal_subjects(tmp_path):
    add_cell(tmp_path, "a", scores("a", [0.0, 0.5]))
    add_cell(tmp_path, "b", [*scores("b", [0.4, 0.5, 0.6]), *scores("b", [0.5], modality="cine")])
    first, second = blocks(read_study(tmp_path).settings[0])
    assert (first.part, first.comparable, second.part) == ("lge", False, "cine")
    assert [(row.missed, row.present) for row in first.rows] == [(1, 2), (0, 3)]
    text = Page(write_page(tmp_path).read_text(encoding="utf-8")).text
    assert "not scored on the same subjects" in text


def test_methods_of_different_parts_are_not_mixed(tmp_path):
    add_cell(tmp_path, "a", scores("a", [0.5, 0.6]))
    add_cell(tmp_path, "b", [*scores("b", [0.4, 0.7]), *scores("b", [0.9, 0.9], modality="cine")])
    (setting,) = read_study(tmp_path).settings
    assert (setting.parts, setting.common) == (["lge", "cine"], ["lge"])
    assert [one.part for one in run_tests(setting) if one.sample.measure == "dice"] == ["lge", "cine"]
    np.testing.assert_allclose(setting.sample("dice").values["b"], [[0.4, 0.7]])
    add_cell(tmp_path, "a", scores("a", [0.5, 0.6], modality="cine"), seed=1)
    assert [one.part for one in run_tests(read_study(tmp_path).settings[0])][::2] == ["", "lge", "cine"]


@pytest.mark.parametrize("dice", [[0.5], [0.5, 0.5], [0.0, 1.0, 0.5]])
def test_one_method_and_one_training(tmp_path, dice):
    add_cell(tmp_path, "unet", scores("unet", dice))
    assert "Tests" not in Page(write_page(tmp_path).read_text(encoding="utf-8")).text.split("How to read it")[0]


def test_nothing_but_refusals(tmp_path):
    add_refused(tmp_path, "nnunet", "a modality is missing", state="failed")
    (tmp_path / "cells" / "target_0" / "unet" / "fold0_seed0").mkdir(parents=True)
    text = Page(write_page(tmp_path).read_text(encoding="utf-8")).text
    assert "No cell of this setting has scores." in text
    assert "nnunet failed: a modality is missing" in text
    assert "target_0/unet/fold0_seed0" in text


def test_other_measures(tmp_path):
    for method, value in (("a", 20.0), ("b", 30.0)):
        pairs = [Score(method, f"s{at}", {"source": "t1", "target": "t2"}, {"psnr": value + at}) for at in range(5)]
        add_cell(tmp_path, method, pairs)
    text = Page(write_page(tmp_path).read_text(encoding="utf-8")).text
    assert "PSNR [dB] on t1, t2" in text


def test_many_parts_are_folded(tmp_path):
    subsets = ("t1", "t2", "flair", "t1 + t2", "t1 + t2 + flair")
    for method in ("a", "b"):
        found = [Score(method, f"s{s}", {"subset": x, "class": "ET"}, {"dice": 0.5}) for x in subsets for s in (0, 1)]
        add_cell(tmp_path, method, found)
    page = Page(write_page(tmp_path).read_text(encoding="utf-8"))
    assert sum(tag == "svg" for tag, _ in page.tags) == 1
    assert {row["part"] for row in rows_of(tmp_path / "table.csv")} == {"all", *subsets}


def test_any_text(tmp_path):
    add_cell(tmp_path, "unet", scores("unet", {NASTY: 0.5, "s2": 0.6}, name=NASTY))
    add_refused(tmp_path, "nnunet", NASTY)
    define(tmp_path, name=NASTY, about=NASTY)
    page = Page(write_page(tmp_path).read_text(encoding="utf-8"))
    assert NASTY in page.text
    assert "script" not in {tag for tag, _ in page.tags}


@pytest.fixture
def drawn(tmp_path):
    """Three methods with predictions of two subjects."""
    label = np.zeros((24, 24, 3), dtype=np.uint8)
    label[8:16, 8:16] = 1
    items = []
    for subject in ("s00", "s01"):
        write_nifti(tmp_path / f"{subject}_lge.nii.gz", label * 50.0, np.eye(4))
        write_nifti(tmp_path / f"{subject}_label.nii.gz", label, np.eye(4))
        about = {"image": f"{subject}_lge.nii.gz", "label": f"{subject}_label.nii.gz"}
        items.append({**about, "modality": "lge", "subject": subject, "fold": 0})
    names = {"name": "x", "modalities": ["lge"], "labels": {"0": "background", "1": "LV"}}
    (tmp_path / "datalist.json").write_text(json.dumps({**names, "training": [], "test": items}))
    for method, place in (("a", "predictions"), ("b", "run/predictions"), ("c", "")):
        folder = add_cell(tmp_path, method, scores(method, [0.5, 0.9 - (method == "a") * 0.1]))
        if place:
            for subject in ("s00", "s01"):
                write_nifti(folder / place / f"{subject}_lge_seg.nii.gz", np.roll(label, 2, 0), np.eye(4))
    define(tmp_path, ours="a", datalist="datalist.json")
    return tmp_path


def test_labels_that_changed_are_not_drawn_under_old_scores(drawn):
    place, own = drawn / "data" / "target_0" / "fold0", read_datalist(drawn / "datalist.json")
    place.mkdir(parents=True)
    written = json.loads((drawn / "datalist.json").read_text())
    written["training"] = [{"image": "gone.nii", "modality": "lge", "subject": "s02", "fold": 1}]
    for one in written["test"]:
        one |= {key: f"../../../{one[key]}" for key in ("image", "label")}
    (place / "datalist.json").write_text(json.dumps(written))
    settle_changes(drawn, "target_0", 0, contents(own, own.sections))
    page = Page(write_page(drawn).read_text(encoding="utf-8"))
    assert sum(tag == "img" for tag, _ in page.tags) == 1
    assert read_study(drawn).changed == {}
    write_nifti(drawn / "s01_label.nii.gz", np.ones((24, 24, 3), np.uint8), np.eye(4))
    page = Page(write_page(drawn).read_text(encoding="utf-8"))
    told = "target_0: test s01 lge changed since cells have ended: all scores are against the files as they were."
    assert page.text.index("Read this first") < page.text.index(told)
    assert f"**{told}" in (drawn / "table.md").read_text(encoding="utf-8")
    assert "Worst cases of target_0, lge are not drawn: images or labels have changed." in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 0
    (drawn / "s01_label.nii.gz").unlink()  # gone is not changed: a page is made where the data are not
    assert read_study(drawn).changed == {}


def test_worst_cases_are_drawn(drawn):
    page = Page(write_page(drawn).read_text(encoding="utf-8"))
    assert "s00: lowest Dice of a; s01: lowest Dice of a" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 1
    (drawn / "s01_lge.nii.gz").write_bytes(b"broken")
    assert "Worst case s01 is not drawn" in Page(write_page(drawn).read_text(encoding="utf-8")).text


def test_without_jinja2(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "_has_jinja2", False)
    add_cell(tmp_path, "unet", scores("unet", [0.5]))
    assert write_page(tmp_path) == tmp_path / "table.md"
    assert not (tmp_path / "index.html").exists()


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="study must be a folder"):
        write_page(tmp_path / "none")
    with pytest.raises(ValueError, match="at least one cell that ended"):
        write_page(tmp_path)
    folder = add_cell(tmp_path, "unet", scores("unet", [0.5]))
    (folder / "scores.json").write_text("{}")
    write_page(tmp_path)
    assert read_study(tmp_path).problems[0].startswith("target_0/unet/fold0_seed0/scores.json is left out")
    define(tmp_path, published="dafnet")
    with pytest.raises(ValueError, match="published must be one of"):
        write_page(tmp_path)


def test_counts():
    assert [count_text(value) for value in (999.0, 12_345.0, 1e6, None)] == ["999", "12.3 k", "1 M", "–"]
