# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the commands for data write, and what they do not write over."""

from __future__ import annotations

import json

import pytest

from monai_mmseg.cli.main import main
from tests.preparation.layouts.public_sets import write_pair
from tests.synthetic_volumes import write_study

GRID = ((8, 8, 4), (8, 8, 12))


@pytest.fixture
def study(tmp_path):
    path = write_study(tmp_path / "data", {"cine": GRID, "lge": GRID}, subjects=("s1", "s2"))
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "training": [{**one, "fold": 0} for one in content["training"]]}))
    return path


def run(capsys, *words):
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def commands(study, root):
    """Every command that writes, without the word for overwriting."""
    other = study.parent.parent / "other" / "datalist.json"
    if not other.exists():
        write_study(other.parent, {"cine": GRID}, subjects=("s9",))
    sets = study.parent.parent / "btcv"
    if not sets.exists():
        write_pair(sets / "img" / "img0001.nii.gz", sets / "label" / "label0001.nii.gz", range(1, 14))
    return {
        "stack": (["data", "stack", study, "--target", "lge", "--out"], root / "stacks"),
        "copy": (
            ["baseline", "copy", study, "--source", "cine", "--target", "lge", "--section", "training", "--out"],
            root / "copy",
        ),
        "merge": (["data", "merge", "--lists", study, other, "--out"], root / "merged.json"),
        "stats": (["data", "stats", study, "--out"], root / "stats.json"),
        "layout": (["data", "layout", "btcv", sets, "--out"], root / "btcv.json"),
        "split": (["data", "split", study, "--folds", "2", "--out"], study.with_name("split.json")),
    }


@pytest.mark.parametrize("name", ["stack", "copy", "merge", "stats", "layout", "split"])
def test_nothing_is_replaced_unless_asked(study, tmp_path, capsys, name):
    words, out = commands(study, tmp_path)[name]
    code, said, _ = run(capsys, *words, out)
    assert code == 0
    assert str(out) in said
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    code, _, error = run(capsys, *words, out)
    assert code == 1
    assert f"mmseg {words[0]} {words[1]}: {out}" in error
    assert "overwrite it (--overwrite" in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in files} == before
    assert run(capsys, *words, out, "--overwrite")[0] == 0
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files


@pytest.mark.parametrize("name", ["stack", "copy", "merge", "stats", "layout"])
def test_places_that_cannot_be_are_told_in_one_line(study, tmp_path, capsys, name):
    words, _ = commands(study, tmp_path)[name]
    (tmp_path / "file").write_text("x")
    code, _, error = run(capsys, *words, tmp_path / "file" / "below")
    assert code == 1
    assert "cannot be written, since" in error
    assert "Errno" not in error
    assert error.count("\n") == 1
    other = tmp_path / "file" if name in ("stack", "copy") else tmp_path
    code, _, error = run(capsys, *words, other, "--overwrite")
    assert code == 1
    assert f"{other} is a f" in error
    assert error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "x"


def test_files_of_others_stay_in_the_folder(study, tmp_path, capsys):
    words, out = commands(study, tmp_path)["stack"]
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert run(capsys, *words, out)[0] == 1
    assert run(capsys, *words, out, "--overwrite")[0] == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "labels" / "final" / "s1.nii.gz").exists()


def test_a_layout_does_not_replace_labels_of_another_list(study, tmp_path, capsys):
    words, out = commands(study, tmp_path)["layout"]
    assert run(capsys, *words, out)[0] == 0
    before = (tmp_path / "labels" / "btcv_0001_ct.nii.gz").read_bytes()
    code, _, error = run(capsys, *words, out.with_name("second.json"))
    assert code == 1
    assert "labels/btcv_0001_ct.nii.gz is there already" in error
    assert not out.with_name("second.json").exists()
    assert (tmp_path / "labels" / "btcv_0001_ct.nii.gz").read_bytes() == before


def test_broken_files_leave_nothing(study, tmp_path, capsys):
    label = study.parent / "labels" / "s2_lge.nii.gz"
    label.write_bytes(label.read_bytes()[:80])
    words, out = commands(study, tmp_path)["stack"]
    code, _, error = run(capsys, *words, out)
    assert code == 1
    assert f"{label}: cannot be read as an image" in error
    assert not out.exists()
    broken = tmp_path / "btcv" / "label" / "label0001.nii.gz"
    broken.write_bytes(broken.read_bytes()[:80])
    words, out = commands(study, tmp_path)["layout"]
    code, _, error = run(capsys, *words, out)
    assert code == 1
    assert f"{broken}: cannot be read as an image" in error
    assert not out.exists()
    assert not list(tmp_path.rglob(".mmseg-*"))


def test_folds_that_are_there_stay(study, capsys):
    content = json.loads(study.read_text())
    training = [{**one, "fold": int(one["subject"] == "s2")} for one in content["training"]]
    study.write_text(before := json.dumps({**content, "training": training}))
    for words in ([], ["--folds", "2"]):
        code, said, _ = run(capsys, "data", "split", study, *words)
        assert (code, study.read_text()) == (0, before)
        assert "every training item has a fold already: nothing to do" in said
    for words in (["--folds", "5"], ["--seed", "1"]):
        code, _, error = run(capsys, "data", "split", study, *words)
        assert code == 1
        assert "4 of 4 training items have folds already" in error
        assert study.read_text() == before


def test_split_says_what_it_did(study, capsys):
    code, _, error = run(capsys, "data", "split", study, "--folds", "2")
    assert code == 1
    assert "4 of 4 training items have folds already; name another file (--out" in error
    assert {one["fold"] for one in json.loads(study.read_text())["training"]} == {0}
    code, said, _ = run(capsys, "data", "split", study, "--folds", "2", "--overwrite")
    assert code == 0
    assert f"written: {study} (the datalist itself; its training items have folds now)" in said
    assert {one["fold"] for one in json.loads(study.read_text())["training"]} == {0, 1}


def test_statistics_replace_older_ones_only(study, capsys):
    own = study.with_name("datalist_stats.json")
    for _ in range(2):
        assert run(capsys, "data", "stats", study)[0] == 0
    own.write_text('{"mine": 1}')
    code, _, error = run(capsys, "data", "stats", study)
    assert code == 1
    assert f"{own} is there already" in error
    assert own.read_text() == '{"mine": 1}'


def test_check_of_a_sheet_that_cannot_be(study, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    code, _, error = run(capsys, "data", "check", study, "--sheet", tmp_path / "file" / "a.png")
    assert code == 1
    assert "cannot be written, since" in error


@pytest.mark.parametrize("subject", ["siteA/p1", "../escape", "/abs", ".."])
def test_names_of_subjects_do_not_leave_the_folder(study, tmp_path, capsys, subject):
    content = json.loads(study.read_text())
    for one in content["training"]:
        one["subject"] = subject if one["subject"] == "s1" else "s2"
    study.write_text(json.dumps(content))
    before = sorted(tmp_path.rglob("*"))
    code, said, _ = run(capsys, "data", "check", study, "--no-sheet")
    assert code == 1
    assert f"subject {subject!r} names files, but it " in said
    for name in ("stack", "copy"):
        words, out = commands(study, tmp_path / "out")[name]
        code, _, error = run(capsys, *words, out)
        assert code == 1
        assert f"subject {subject!r} names files, but it " in error
    here = [
        path for path in sorted(tmp_path.rglob("*")) if path.relative_to(tmp_path).parts[0] not in ("other", "btcv")
    ]
    assert here == before


def test_an_evaluation_spares_the_table_of_a_run(study, tmp_path, capsys):
    (tmp_path / "evaluations.json").write_text(json.dumps({"metrics/unet.json": {"model": "a" * 64}}))
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "unet.json").write_text("{}")
    copy = ["baseline", "copy", study, "--source", "cine", "--target", "lge", "--section", "training", "--out"]
    assert run(capsys, *copy, tmp_path / "copy")[0] == 0
    evaluate = ["evaluate", study, tmp_path / "copy", "--modality", "lge", "--section", "training"]
    evaluate += ["--out", tmp_path / "metrics", "--method"]
    code, _, error = run(capsys, *evaluate, "unet")
    assert code == 1
    assert f"{tmp_path / 'metrics' / 'unet.json'} is the run's own table, by {tmp_path / 'evaluations.json'}" in error
    assert [path.read_text() for path in (tmp_path / "metrics").iterdir()] == ["{}"]
    assert run(capsys, *evaluate, "copy")[0] == 0
    assert (tmp_path / "metrics" / "copy.csv").is_file()


@pytest.mark.parametrize("name", ["merge", "stats", "split", "sheet", "evaluate", "copy"])
def test_data_are_never_replaced_by_what_is_made_of_them(study, tmp_path, capsys, name):
    """Not even where files may be replaced; the tables of an evaluation may, and are named after a method."""
    content = json.loads(study.read_text())
    label = study.parent / content["training"][0]["label"]
    (study.parent / "s1").mkdir(exist_ok=True)
    lge = next(one for one in content["training"] if (one["subject"], one["modality"]) == ("s1", "lge"))
    stem = lge["image"].rpartition("/")[2].removesuffix(".nii.gz")
    moved = study.parent / "s1" / f"{stem}_seg.nii.gz"  # as a prediction would be called
    (study.parent / lge["label"]).rename(moved)
    lge["label"] = f"s1/{moved.name}"
    study.write_text(json.dumps(content))
    if not label.exists():
        label = moved
    copy = ["baseline", "copy", study, "--source", "cine", "--target", "lge", "--section", "training", "--out"]
    evaluate = ["evaluate", study, tmp_path / "copy", "--modality", "lge", "--section", "training"]
    if name == "evaluate":
        assert run(capsys, *copy, tmp_path / "copy")[0] == 0
    found = {
        "sheet": [["data", "check", study, "--sheet", out] for out in (study, label)],
        "evaluate": [[*evaluate, "--method", "datalist", "--out", study.parent]],
        "copy": [[*copy, study.parent, "--overwrite"]],
    }
    words = commands(study, tmp_path).get(name, [[]])[0]
    before = {path: path.read_bytes() for path in study.parent.rglob("*") if path.is_file()}
    for one in found.get(name) or [
        [*words, out, "--overwrite"] for out in (study, label) if (name, out) != ("split", study)
    ]:
        code, _, error = run(capsys, *one)
        assert code == 1
        assert "would be replaced; write elsewhere" in error or "out must lie in the folder" in error
    assert {path: path.read_bytes() for path in study.parent.rglob("*") if path.is_file()} == before
