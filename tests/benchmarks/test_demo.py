# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: its rows are those of a study, and its trainings run some at a time."""

import json
import threading
import time
from pathlib import Path

import pytest

from benchmarks import demo, runs
from benchmarks.runs import Result, train_and_evaluate
from monai_mmseg.evaluation import Score, ScoreTable
from monai_mmseg.report.content import read_run
from monai_mmseg.runs import record_evaluation
from monai_mmseg.runs.identity import file_sha256
from monai_mmseg.study import METHODS
from monai_mmseg.study.process import Used

RESULT = Result(Path("run"), Path("run/scores.json"), 140.0, 110.4)


@pytest.mark.parametrize("run", demo.RUNS, ids=lambda run: run.name)
def test_the_rows_are_those_of_a_study_without_labels_of_the_target(run):
    method = METHODS[run.name]
    assert run.overlays == (*method.overlays, *method.bare, "demo")


def test_every_row_is_explained_and_expected():
    names = {run.name for run in demo.RUNS}
    assert set(demo.MEANING) == {"copy", *names}
    assert set(demo.EXPECTED) == names
    assert sum(demo.EXPECTED.values()) / 2 < demo.STAGES["training"] < sum(demo.EXPECTED.values())


def test_the_table_says_what_a_training_took():
    plain = ScoreTable([Score("dafnet", "s1", {"modality": "lge"}, {"dice": 0.8})])
    table = demo.described(plain, demo.about_row("dafnet", RESULT))
    assert list(table) == list(plain)
    assert table.notes()[-1] == f"dafnet: {demo.MEANING['dafnet']}; trained in 110 s of CPU time"
    unknown = RESULT._replace(training_cpu=None)
    assert demo.about_row("dafnet", unknown) == demo.about_row("dafnet", None) == demo.MEANING["dafnet"]


def test_the_page_holds_every_row(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("monai_mmseg.report.write_report", lambda out: out / "report.html")
    results = {}
    for name in demo.MEANING:
        place = tmp_path / "copy" if name == "copy" else tmp_path / name
        ScoreTable([Score(name, "s1", {"modality": "lge"}, {"dice": 0.8})]).save(place, name)
        results[name] = Result(place, place / f"{name}.json", 140.0, 110.4)
    del results["copy"]
    demo.show(tmp_path, results)
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in demo.MEANING)
    assert shown.count("trained in 110 s of CPU time") == len(results)


def test_the_page_is_about_the_run(tmp_path, capsys):
    """Its own table has a line more than what was evaluated, and is still that of its model."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"weights")
    values = {
        "hausdorff95": 5.0,
        "hausdorff": 6.0,
        "surface_distance": 1.0,
        "predicted_volume": 9.0,
        "true_volume": 9.0,
    }
    case = {"modality": "lge", "class": "LV"}
    own = [Score("dafnet", f"s{number}", case, {"dice": 0.8 + number / 100, **values}) for number in range(3)]
    ScoreTable(own).save(tmp_path / "metrics", "dafnet")
    record_evaluation(tmp_path, tmp_path / "models", "metrics/dafnet.json", section="test")
    about = {
        "id": "1",
        "method": "dafnet",
        "model": {"file": "model.pt", "sha256": file_sha256(tmp_path / "models/model.pt")},
    }
    (tmp_path / "run.json").write_text(json.dumps(about), encoding="utf-8")
    results = {}
    for name in demo.MEANING:
        place = tmp_path / name
        ScoreTable([one._replace(method=name) for one in own]).save(place, name)
        results[name] = Result(place, place / f"{name}.json", 140.0, 110.4)
    del results["copy"]
    demo.show(tmp_path, results)
    capsys.readouterr()
    found = read_run(tmp_path)
    assert not [text for text in found.problems if "metrics/" in text or "no evaluation has" in text]
    assert "trained in 110 s of CPU time" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("cut_off", "known"), [(False, 30.0), (True, None)])
def test_the_time_is_that_of_a_whole_training(monkeypatch, tmp_path, cut_off, known):
    [run] = [one for one in demo.RUNS if one.name == "unet_source"]
    seconds = iter([30.04, 3.0])

    def work(*_, **__):
        (tmp_path / "metrics").mkdir(exist_ok=True)
        (tmp_path / "metrics" / "unet_source.json").write_text("{}")
        return Used(99.0, next(seconds))

    monkeypatch.setattr(runs, "run_module", work)
    if cut_off:
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "resume.pt").touch()
    found = [train_and_evaluate(run, tmp_path, tmp_path) for _ in range(2)]  # the second call reads what the first left
    assert [one.training_cpu for one in found] == [known, known]


def test_the_share_counts_every_network(tmp_path):
    assert demo.networks_share(tmp_path) == 0
    (tmp_path / "seconds.json").write_text("{}")  # DAFNet has its place at the top
    (tmp_path / "unet_source").mkdir()
    (tmp_path / "unet_source" / "seconds.json").write_text("{}")
    done = demo.EXPECTED["dafnet"] + demo.EXPECTED["unet_source"]
    assert demo.networks_share(tmp_path) == pytest.approx(done / sum(demo.EXPECTED.values()))


def test_two_jobs_run_beside_each_other():
    both = threading.Barrier(2, timeout=10)
    assert sorted(demo.in_lanes([both.wait, both.wait], 2)) == [0, 1]
    assert demo.in_lanes([lambda: 1, lambda: 2, lambda: 3], 1) == [1, 2, 3]


def test_what_has_not_begun_when_one_fails_is_left_out():
    begun = []

    def fail():
        raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        demo.in_lanes([fail, lambda: time.sleep(0.2), lambda: begun.append(1)], 1)
    assert begun == []
