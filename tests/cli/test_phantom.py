# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Phantoms on the command line."""

import inspect
import json

import pytest

import monai_mmseg.phantom as phantom
from monai_mmseg.cli.main import COMMANDS, main


@pytest.mark.parametrize("kind", ["abdomen", "cardiac"])
def test_flags_reach_the_function(kind, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(
        phantom, f"make_{kind}_phantom", lambda out, **kwargs: calls.append((out, kwargs)) or tmp_path / "no"
    )
    words = f"data phantom {kind} --subjects ct=4 mr=2 --size 32 --inverse --outliers ct=3 --seed 3 --out {tmp_path}"
    assert main(words.split()) == 0
    assert calls[0][0] == str(tmp_path)
    assert calls[0][1] == {
        "subjects": {"ct": 4, "mr": 2},
        "test_subjects": None,
        "folds": 7,
        "size": 32,
        "seed": 3,
        "inverse": True,
        "outliers": {"ct": 3},
    }
    assert main(["data", "phantom", kind, "--out", str(tmp_path)]) == 0
    assert calls[1][1] == {
        "subjects": {"ct": 30, "mr": 9},
        "test_subjects": None,
        "folds": 7,
        "size": None,
        "seed": 0,
        "inverse": False,
        "outliers": None,
    }


def test_it_says_what_it_wrote(tmp_path, capsys):
    words = (
        f"data phantom cardiac --subjects ct=2 mr=1 --test-subjects ct=1 --size 24 --outliers mr=1 --out {tmp_path}/o"
    )
    assert main(words.split()) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"training: 1 ct, 1 mr: {tmp_path}/o/datalist.json",
        f"test: 1 ct, 0 mr: {tmp_path}/o/datalist.json",
        f"test: 0 ct, 1 mr: {tmp_path}/o/outliers.json",
    ]
    assert json.loads((tmp_path / "o" / "phantom.json").read_text(encoding="utf-8"))["parameters"]["size"] == 24


def test_brain(monkeypatch, tmp_path, capsys):
    words = f"data phantom brain --subjects 3 --test-subjects 1 --size 24 --pet --missing 0.4 --out {tmp_path}/o"
    assert main(words.split()) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1] == f"test: 1 t1, 1 t1gd, 1 t2, 1 flair, 1 pet: {tmp_path}/o/datalist.json"
    calls = []
    monkeypatch.setattr(phantom, "make_brain_phantom", lambda out, **kw: calls.append(kw) or tmp_path / "no")
    main(["data", "phantom", "brain", "--out", str(tmp_path)])
    words = "--healthy --own-grids --modalities t1 flair --subjects 5 --folds 2 --seed 4"
    main(["data", "phantom", "brain", "--out", str(tmp_path), *words.split()])
    default = {"modalities": None, "pet": False, "healthy": False, "missing": 0.0, "own_grids": False, "subjects": 12}
    default |= {"test_subjects": None, "folds": 4, "size": None, "seed": 0}
    given = {"healthy": True, "own_grids": True, "modalities": ["t1", "flair"], "subjects": 5, "folds": 2, "seed": 4}
    assert calls == [default, {**default, **given}]


def test_heart(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(
        phantom, "make_heart_phantom", lambda out, **kwargs: calls.append((out, kwargs)) or tmp_path / "no"
    )
    words = f"data phantom heart --modalities cine lge --subjects 12 --seed 0 --out {tmp_path}"
    assert main(words.split()) == 0
    asked = {"modalities": ["cine", "lge"], "subjects": 12, "seed": 0, "test_subjects": None, "motion": 1.0}
    assert calls == [(str(tmp_path), {**asked, "folds": 4, "size": None})]


def test_short_axis(tmp_path, capsys):
    assert main(f"data phantom cmr --subjects lge=1 --size 24 --out {tmp_path}/o".split()) == 0
    assert "training: 1 lge" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["abdomen", "brain", "cardiac", "cmr", "heart"])
def test_flags_and_defaults_are_those_of_the_function(kind):
    made = inspect.signature(getattr(phantom, f"make_{kind}_phantom")).parameters
    for name, flag in inspect.signature(COMMANDS[f"data phantom {kind}"]).parameters.items():
        if name != "out" and made[name].default is not None:
            assert flag.default == made[name].default, name


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("data phantom cardiac --motion 2", 2, "no flag --motion"),
        ("data phantom cardiac --subject ct=3", 2, "no flag --subject. Did you mean --subjects"),
        ("data phantom abdomen", 2, "required: --out"),
        ("data phantom cmr --inverse", 2, "no flag --inverse"),
        (
            "data phantom cardiac --subjects 12 --out x",
            2,
            "--subjects: needs a number for each modality, such as ct=30",
        ),
        ("data phantom cardiac --subjects ct=1 ct=2 --out x", 2, "--subjects: needs a number for each modality"),
        ("data phantom heart --subjects ct=1 --out x", 2, "--subjects: invalid int value"),
        ("data phantom abdomen --subjects us=1 --out x", 1, "subjects must name modalities"),
        ("data phantom liver --out x", 2, "unknown command 'data phantom liver'"),
    ],
)
def test_wrong_use(words, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
