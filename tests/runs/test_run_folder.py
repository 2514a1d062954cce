# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind, also when it fails or is resumed."""

from __future__ import annotations

import json
import math

import pytest

import monai_mmseg
from monai_mmseg.runs import RunRecorder, read_terms
from monai_mmseg.runs.versions import git_commit, software_versions


def about(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def test_nothing_is_written_before_the_start(tmp_path):
    RunRecorder(tmp_path / "run", "a")
    assert list(tmp_path.iterdir()) == []


def test_run_json(tmp_path):
    with RunRecorder(tmp_path, "a", what="w", method="m", modality="lge", settings={"x": {"y": math.inf}}, seed=3):
        assert about(tmp_path)["status"] == "running"
    found = about(tmp_path)
    assert (found["status"], found["name"], found["method"], found["seed"]) == ("completed", "a", "m", 3)
    assert found["settings"] == {"x": {"y": "inf"}}
    assert found["duration_s"] >= 0
    assert found["versions"]["monai_mmseg"] == monai_mmseg.__version__
    assert {path.name for path in tmp_path.iterdir()} == {"run.json"}  # no temporary file is left


@pytest.mark.parametrize(("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "interrupted")])
def test_a_run_that_ends_early_says_so(tmp_path, error, status):
    with pytest.raises(error), RunRecorder(tmp_path, "a"):
        raise error("the loss\nis NaN")
    assert about(tmp_path)["status"] == status
    assert (tmp_path / "warnings.txt").read_text(
        encoding="utf-8"
    ) == f"The run ended early: {error.__name__}: the loss is NaN\n"


def test_warnings_stand_once(tmp_path):
    recorder = RunRecorder(tmp_path, "a")
    for text in ("one", "two", "one"):
        recorder.warn(text)
    assert (tmp_path / "warnings.txt").read_text(encoding="utf-8") == "one\ntwo\n"


def test_terms_come_back(tmp_path):
    recorder = RunRecorder(tmp_path, "a")
    recorder.add_terms(2, {"g/a": 0.25})
    recorder.add_terms(1, {"g/a": 0.5, 'd, "x"/b': math.nan})
    recorder.add_terms(2, {"validation/dice": 0.75})
    epochs, terms = read_terms(tmp_path / "terms.csv")
    assert epochs == [1, 2]
    assert terms["g/a"] == [0.5, 0.25]
    assert terms["validation/dice"] == [None, 0.75]
    assert math.isnan(terms['d, "x"/b'][0])
    assert terms['d, "x"/b'][1] is None


def test_resumed_epochs_are_forgotten(tmp_path):
    recorder = RunRecorder(tmp_path, "a")
    for epoch in (1, 2, 3):
        recorder.add_terms(epoch, {"g/a": float(epoch)})
    recorder.drop_terms_from(3)
    assert read_terms(tmp_path / "terms.csv") == ([1, 2], {"g/a": [1.0, 2.0]})
    recorder.drop_terms_from(1)
    assert not (tmp_path / "terms.csv").exists()
    recorder.drop_terms_from(1)  # nothing there is no error


def test_a_resumed_run_took_all_its_parts(tmp_path):
    with RunRecorder(tmp_path, "a"):
        pass
    found = {**about(tmp_path), "duration_s": 100.0}
    (tmp_path / "run.json").write_text(json.dumps(found), encoding="utf-8")
    RunRecorder(tmp_path, "a").start(resumed=True)  # and is killed
    assert (about(tmp_path)["duration_s"], about(tmp_path)["untimed"]) == (100.0, 0)
    third = RunRecorder(tmp_path, "a")
    third.start(resumed=True)
    third.finish()
    assert 100 <= about(tmp_path)["duration_s"] < 200
    assert about(tmp_path)["untimed"] == 1


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "epoch,a\n1,x\n", "epoch,a\n1\n", "epoch,a\nx,1\n"])
def test_broken_terms(tmp_path, text):
    (tmp_path / "terms.csv").write_text(text)
    with pytest.raises(ValueError, match=r"terms\.csv must"):
        read_terms(tmp_path / "terms.csv")


def test_versions_and_commit():
    assert {"python", "torch", "monai", "numpy"} <= software_versions().keys()
    commit = git_commit()
    assert commit is None or len(commit.rstrip("+")) == 12
