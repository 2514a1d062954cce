# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whose folders they are: what is refused, what moves away, and what goes on."""

from __future__ import annotations

import hashlib
import json

import pytest

from monai_mmseg.evaluation.quality import StoredCalibration, write_calibration
from monai_mmseg.metrics.quality import Calibration
from monai_mmseg.runs import RunOwner, read_settings, record_evaluation, spare_evaluated
from monai_mmseg.runs.owner import FolderTaken


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    write_list(tmp_path)
    return tmp_path


def write_list(folder, **more):
    content = {"modalities": ["ct"], "labels": {"0": "background"}, "training": [], **more}
    (folder / "data" / "datalist.json").write_text(json.dumps(content))


def owner(folder, knobs=None, **options):
    settings = {"method": "csa", "knobs": {"fold": 0, "learning_rate": 0.1, "max_epochs": 5, **(knobs or {})}}
    places = (folder / "models", folder / "eval", folder / "data" / "datalist.json")
    return RunOwner(*places, settings=settings, **options)


def train(folder, *, status="completed", **options):
    """A run that leaves what a training leaves."""
    run = owner(folder, **options)
    run.claim()
    for path, text in (("models/model.pt", "weights"), ("models/resume.pt", "all"), ("eval/terms.csv", "epoch\n1\n")):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text + run.id)
    about = {"id": run.id, "name": "csa", "status": status, "started": "2026-01-02T03:04:05+00:00"}
    (folder / "eval" / "run.json").write_text(json.dumps(about))
    run.finish("trained" if status == "completed" else "training")
    return run


def test_settings_are_there_from_the_start(folder):
    run = owner(folder)
    run.check()
    assert not (folder / "models").exists()
    run.claim()
    found = read_settings(folder / "models")
    assert (found["run"], found["state"], found["knobs"]["fold"]) == (run.id, "training", 0)
    assert found["datalist"]["path"] == str(folder / "data" / "datalist.json")
    run.finish()
    assert read_settings(folder / "models")["state"] == "trained"
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["settings.json"]


def test_a_finished_run_stays(folder):
    first = train(folder)
    again = owner(folder)
    for refuse in (again.check, again.claim):
        with pytest.raises(FolderTaken, match=r"holds a finished run \(csa, begun 2026-01-02 03:04:05\)") as error:
            refuse()
    for word in ("--ckpt_dir", "--overwrite True", "--resume True"):
        assert word in str(error.value)
    assert (folder / "models" / "model.pt").read_text(encoding="utf-8") == f"weights{first.id}"
    assert read_settings(folder / "models")["run"] == first.id


def test_overwrite_moves_it_away_whole(folder, caplog):
    first = train(folder)
    write_calibration(folder / "models", StoredCalibration("entropy", Calibration(1.0, 0.0), 0.1, 3, 3, "shift", "abc"))
    second = owner(folder, overwrite=True)
    second.claim()
    name = f"20260102T030405_{first.id[:8]}"
    assert sorted(p.name for p in (folder / "models" / "previous" / name).iterdir()) == [
        *("model.pt", "quality.json", "resume.pt", "settings.json"),
    ]
    assert sorted(p.name for p in (folder / "eval" / "previous" / name).iterdir()) == ["run.json", "terms.csv"]
    assert not (folder / "models" / "quality.json").exists()  # fitted for the weights that moved
    assert read_settings(folder / "models")["run"] == second.id != first.id
    assert f"an older run (csa, begun 2026-01-02 03:04:05) is now in {folder / 'models' / 'previous' / name}" in caplog.text


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_a_run_that_was_cut_off_moves_away_by_itself(status, folder, caplog):
    first = train(folder, status=status)
    owner(folder).claim()
    (moved,) = (folder / "models" / "previous").iterdir()
    assert (moved / "resume.pt").read_text(encoding="utf-8") == f"all{first.id}"
    assert "a run that did not end" in caplog.text
    assert "add --resume True" in caplog.text


def test_a_run_that_failed_before_it_computed_anything_leaves_nothing(folder):
    run = owner(folder)
    run.claim()
    run.finish("training")
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval" / "run.json").write_text('{"status": "failed"}')
    owner(folder).claim()
    assert not (folder / "models" / "previous").exists()
    assert not (folder / "eval" / "run.json").exists()


def test_weights_of_unknown_origin_are_refused(folder):
    (folder / "models").mkdir()
    (folder / "models" / "model.pt").touch()
    with pytest.raises(FolderTaken, match="holds a finished run, which a new training would replace"):
        owner(folder).check()


def test_programs_that_train_again_and_again_replace_it(folder):
    """Weights stay where they are: the program may read them before they are replaced."""
    train(folder)
    owner(folder, strict=False).claim()
    assert (folder / "models" / "model.pt").is_file()
    assert not (folder / "eval" / "terms.csv").exists()


def test_a_run_goes_on_with_its_id(folder):
    first = train(folder, status="running")
    second = owner(folder, {"max_epochs": 9}, resume=True)
    second.claim()
    assert (second.id, second.resumed) == (first.id, True)
    assert (folder / "models" / "resume.pt").is_file()


def test_another_fold_does_not_go_on(folder):
    train(folder)
    with pytest.raises(FolderTaken, match=r"cannot go on: it was begun with other settings. Now: fold 1 \(it was 0\)\."):
        owner(folder, {"fold": 1}, resume=True).check()
    with pytest.raises(FolderTaken, match=r"learning_rate 0.2 \(it was 0.1\)"):
        owner(folder, {"learning_rate": 0.2}, resume=True).check()


def test_it_does_not_go_on_in_the_folder_of_another_run(folder):
    train(folder)
    about = json.loads((folder / "eval" / "run.json").read_text(encoding="utf-8"))
    (folder / "eval" / "run.json").write_text(json.dumps({**about, "id": "b" * 32}))
    with pytest.raises(FolderTaken, match="and output_dir .*eval to run bbbbbbbb. Name the --output_dir"):
        owner(folder, resume=True).check()


def test_other_data_do_not_go_on(folder):
    train(folder)
    owner(folder, resume=True).check()
    write_list(folder, training=[{"image": "a.nii", "modality": "ct", "subject": "s"}])
    with pytest.raises(FolderTaken, match="the datalist .*datalist.json, not "):
        owner(folder, resume=True).check()


def test_a_move_that_was_cut_off_goes_on_into_the_same_folder(folder, monkeypatch):
    train(folder)
    import os

    real, calls = os.rename, []

    def rename(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        owner(folder, overwrite=True).claim()
    monkeypatch.setattr(os, "rename", real)
    owner(folder, overwrite=True).claim()
    (moved,) = (folder / "models" / "previous").iterdir()
    assert sorted(path.name for path in moved.iterdir()) == ["model.pt", "resume.pt", "settings.json"]


def test_only_the_first_process_acts(folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    run = owner(folder)
    run.check()
    run.claim()
    run.finish()
    assert not (folder / "models").exists()


def test_an_evaluation_names_the_model(folder):
    run = train(folder)
    record_evaluation(folder / "eval", folder / "models", "metrics/csa.json", section="test")
    record_evaluation(folder / "eval", folder / "models", "subsets.json", section="test")
    found = json.loads((folder / "eval" / "evaluations.json").read_text(encoding="utf-8"))
    assert sorted(found) == ["metrics/csa.json", "subsets.json"]
    expected = hashlib.sha256(f"weights{run.id}".encode()).hexdigest()
    assert {(one["run"], one["model"], one["section"]) for one in found.values()} == {(run.id, expected, "test")}


def test_an_evaluation_notes_its_tables(folder):
    train(folder)
    (folder / "eval" / "metrics").mkdir()
    (folder / "eval" / "metrics" / "csa.json").write_text("{}")
    record_evaluation(folder / "eval", folder / "models", "metrics/csa.json", "subsets.json", section="test")
    found = json.loads((folder / "eval" / "evaluations.json").read_text(encoding="utf-8"))
    assert found["metrics/csa.json"]["sha256"] == hashlib.sha256(b"{}").hexdigest()
    assert "sha256" not in found["subsets.json"]  # it is not there
    for name in ("metrics/csa.json", "subsets.json"):
        with pytest.raises(FileExistsError, match=r"is the run's own table, by .*evaluations.json: .* another --method"):
            spare_evaluated(folder / "eval" / name)
    spare_evaluated(folder / "eval" / "metrics" / "other.json")
    spare_evaluated(folder / "elsewhere" / "csa.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON file"),
        ("[]", "must have the format 'monai_mmseg.settings/1', got 'list'"),
        ('{"format": "monai_mmseg.settings/1", "knobs": {"a": ["$1"]}}', "an expression at knobs#a#0"),
        ('{"format": "monai_mmseg.settings/1", "definitions": {"n": {"x": "@a"}}}', "an expression at definitions#n#x"),
        ('{"format": "monai_mmseg.settings/1", "knobs": []}', "knobs must be an object, got list"),
    ],
)
def test_settings_are_data(text, message, tmp_path):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_settings(tmp_path)
