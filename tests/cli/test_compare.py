# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg compare`` takes and prints."""

from __future__ import annotations

import json

import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.study import CellResult, runner
from monai_mmseg.study.cells import Cell
from tests.study.listed import write_listed


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """The study that was given to the runner; nothing runs, and the page is a file."""
    given = {}

    def run_study(study, out, **settings):
        given.update(settings, study=study)
        cell = Cell("csa", "all", 0, 0)
        return [CellResult(cell, out, "refused", "no labels"), CellResult(cell._replace(seed=1), out, given["state"])]

    page = type("page", (), {"write_page": staticmethod(lambda out: out / "index.html")})
    monkeypatch.setattr(runner, "run_study", run_study)
    monkeypatch.setitem(__import__("sys").modules, "monai_mmseg.study.page", page)
    monkeypatch.chdir(tmp_path)
    given["state"] = "done"
    return given


def test_flags_become_a_study(ran, capsys, tmp_path):
    write_listed(tmp_path / "data")
    words = ["compare", "data/datalist.json", "--methods", "dafnet+spade", "copy", "--seeds", "0", "1", "--folds", "2"]
    words += ["--budget", "20m", "--labels", "1", "0.5", "--out", "study", "--lanes", "2"]
    assert main(words) == 0
    study = ran["study"]
    assert ([one.name for one in study.methods], study.seeds, study.folds) == (["dafnet+spade", "copy"], (0, 1), 2)
    assert (study.budget, study.name, ran["lanes"]) == (1200.0, "data", 2)
    assert {one.name: one.labels for one in study.settings} == {"target_100": {"lge": 1.0}, "target_50": {"lge": 0.5}}
    text = capsys.readouterr().out
    assert "refused: csa all fold 0 seed 0: no labels\ncells: 1 refused, 1 done\nwritten: study/index.html" in text
    ran["state"] = "failed"
    assert main(words) == 1


def test_a_file_is_a_study_where_it_names_methods(ran, tmp_path):
    content = {"datalist": "data/datalist.json", "methods": ["copy"], "steps": 5}
    (tmp_path / "study.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["compare", "study.json", "--out", "study", "--steps", "9"]) == 0
    assert ran["study"].steps == 9
    assert main(["compare", "--out", "study", "--page-only"]) == 0


WRONG = [
    (["data/datalist.json", "--methods", "dafnt", "--out", "s"], 1, "did you mean 'dafnet'"),
    (["data/datalist.json", "--methods", "copy"], 1, "--out is needed"),
    (["--methods", "copy", "--out", "s"], 1, "a datalist or the file of a study is needed"),
    (
        ["data/datalist.json", "--page-only", "--seeds", "9", "--out", "s"],
        1,
        "of what s holds; leave out the data, --seeds",
    ),
    (["data/datalist.json", "--methods", "copy", "--out", "s", "--seeds", "one"], 2, "--seeds: needs whole numbers"),
    (["data/datalist.json", "--methods", "copy", "--out", "s", "--sedes", "1"], 2, "Did you mean --seeds"),
]


@pytest.mark.parametrize(("words", "code", "message"), WRONG)
def test_what_is_wrong_is_said(ran, capsys, tmp_path, words, code, message):
    write_listed(tmp_path / "data")
    assert main(["compare", *words]) == code
    assert message in capsys.readouterr().err


def test_labels_are_those_of_the_modality_that_is_segmented(ran, tmp_path):
    write_listed(tmp_path / "data", bare=("cine",))
    words = ["compare", "data/datalist.json", "--methods", "copy", "--out", "study", "--labels"]
    assert main([*words, "0"]) == 0
    assert ran["study"].settings[0].labels == {"cine": 0.0}  # lge has labels, and is the last
    assert main([*words, "nan"]) == 1


def test_the_list_says_what_the_data_offer(ran, capsys, tmp_path):
    assert main(["compare", "--list"]) == 0
    text = capsys.readouterr().out
    assert "refused" not in text
    assert max(map(len, text.splitlines())) <= 100
    write_listed(tmp_path / "data", bare=("lge",))
    assert main(["compare", "data/datalist.json", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    after = {line.split()[0]: lines[at + 1].strip() for at, line in enumerate(lines[:-1]) if line[:1].strip()}
    assert after["dafnet"] == "- needs two modalities, source labels, pairs"
    assert after["ummkd"] == "- refused: no training image of lge has a label"
    assert lines[-1].startswith("On these data: target lge, source cine")


def test_the_list_of_a_study_says_what_it_would_train(capsys, tmp_path):
    content = {"phantom": {"kind": "heart"}, "methods": ["copy", "dafnet"], "budget": "20m", "target": "lge"}
    content["settings"] = {"target_0": {"labels": {"lge": 0.0}}, "target_100": {}}
    (tmp_path / "hearts.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["compare", str(tmp_path / "hearts.json"), "--list", "--seeds", "0", "1", "2"]) == 0
    text = capsys.readouterr().out
    assert "6 of 20 min" in text
    assert "6 trainings: 2.0 h" in text


def test_the_list_of_a_study_says_what_its_datalist_refuses(capsys, tmp_path):
    write_listed(tmp_path / "data")
    content = {"datalist": "data/datalist.json", "methods": ["copy", "dafnet", "unet_target", "csa"], "budget": "20m"}
    content["settings"] = {"target_0": {"labels": {"lge": 0.0}}, "target_100": {}}
    path = tmp_path / "hearts.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert main(["compare", str(path), "--list"]) == 0
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    counts = {line[0]: line[1] for line in lines if line[0] in content["methods"]}
    assert counts == {"copy": "-", "dafnet": "2", "unet_target": "1", "csa": "1"}
    assert text.count("- refused in target_0: no training image of lge has a label") == 2
    assert "4 trainings: 80 min of training by one lane; evaluations come on top." in text
    path.write_text(json.dumps({**content, "settings": {"none": {"labels": {"lgee": 0.0}}}}), encoding="utf-8")
    assert main(["compare", str(path), "--list"]) == 1
    assert "settings: none: labels of 'lgee'" in capsys.readouterr().err
    path.write_text(json.dumps({**content, "datalist": "later.json"}), encoding="utf-8")
    assert main(["compare", str(path), "--list"]) == 0
    text = capsys.readouterr().out
    assert "8 trainings" not in text
    assert "6 trainings" in text
    assert "its datalist is not there yet" in text
