# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One cell of each kind on a tiny phantom, and what is not run twice."""

from __future__ import annotations

import pytest

from monai_mmseg.bundle.command_line import parse_run_command
from monai_mmseg.study import baselines, read_cells, run_study
from monai_mmseg.study import trained as module
from monai_mmseg.study.budget import decay_of, settings_of_steps
from monai_mmseg.study.cells import Cell
from monai_mmseg.study.definition import study_of
from monai_mmseg.study.facts import Facts
from monai_mmseg.study.methods import METHODS
from monai_mmseg.study.plans import Training
from monai_mmseg.study.process import CommandError, Used

FACTS = Facts(["cine", "lge"], "lge", "cine", {"cine": 2, "lge": 0}, 2, 2, {"lge": 1})


@pytest.mark.overlays  # whole commands
def test_two_steps_and_a_copy_on_a_tiny_phantom(tmp_path):
    study = study_of(
        {
            "phantom": {"kind": "heart", "subjects": 3, "test_subjects": 1, "folds": 2, "size": 32},
            "methods": ["unet_source", "copy"],
            "settings": {"none": {"labels": {"lge": 0.0}}},
            "overlays": ["demo"],
            "common": {"features": [4, 4, 4, 4, 4], "batch_size": 2},
            "steps": 2,
        }
    )
    copied, unet = sorted(run_study(study, tmp_path, say=str), key=lambda one: one.cell.method)
    assert [copied.state, unet.state] == ["done", "done"], unet.reason
    assert (unet.steps, unet.cell) == (2, Cell("unet_source", "none", 0, 0))
    assert unet.parameters > 1000
    assert unet.seconds["cpu"] > 0
    assert set(unet.seconds) == {"training", "evaluating", "cpu", "cpu_evaluating"}
    for one in (copied, unet):
        assert list(one.table.methods) == [one.cell.method]
        assert one.table.cases("modality") == ["lge"]
    assert copied.table.subjects() == unet.table.subjects()
    assert read_cells(tmp_path)[1] == unet


@pytest.fixture
def commands(monkeypatch):
    """Commands that were run, none of which does anything; "fail" among them fails all."""
    ran: list = []

    def run_module(name, words, log, *, folder, **_):
        if "fail" in ran:
            raise CommandError("fell")
        ran.append((words[1], words[3], dict(zip(words[4::2], words[5::2], strict=True)), folder))
        if words[1] == "evaluating":
            (folder / "metrics").mkdir()
            file = folder / "metrics" / "m.json"
            file.write_text('{"format": "monai_mmseg.scores/2", "methods": {}, "scores": []}', encoding="utf-8")
        return Used(2.0, 1.5)

    monkeypatch.setattr(module, "run_module", run_module)
    monkeypatch.setattr(module.ScoreTable, "from_json", lambda _: module.ScoreTable())
    return ran


def run(tmp_path, method, trainings):
    given = {"evaluating": {"x": 1}, "paper_dice": False, "threads": 1}
    return module.run_bundle_cell(method, trainings, Cell("m", "s", 0, 7), tmp_path, tmp_path, FACTS, **given)


def test_a_cell_that_was_cut_off_goes_on_where_it_was(tmp_path, commands):
    method = METHODS["dafnet"]._replace(name="m")
    trainings = [Training("", tmp_path / "bundle", ("demo",), {"max_epochs": 3})]
    commands.append("fail")
    with pytest.raises(CommandError):
        run(tmp_path, method, trainings)
    commands.clear()
    assert run(tmp_path, method, trainings).seconds["cpu"] == 1.5
    assert [one[0] for one in commands] == ["training", "evaluating"]
    _run_id, files, overrides, _ = commands[0]
    assert files.endswith("demo.json', '" + (tmp_path / "bundle/configs/settings/target_0.json").as_posix() + "']")
    assert (overrides["--seed"], overrides["--method"], overrides["--resume"]) == ("7", "m", "True")
    assert "--x" in commands[1][2]
    assert "--resume" not in commands[1][2]
    commands.clear()
    run(tmp_path, method, trainings)
    assert commands == []  # both have ended before


def test_stages_hand_over_and_modalities_are_joined(tmp_path, commands):
    method = METHODS["disentangle"]._replace(name="m")
    (stage,) = method.stages
    trainings = [
        Training("disentangle", tmp_path / "one", ("demo",), {}, stage),
        Training("", tmp_path / "two", ("demo",), {}),
    ]
    run(tmp_path, method, trainings)
    assert [one[0] for one in commands] == ["training", "training", "evaluating"]
    assert commands[1][2]["--stage_one"] == str(tmp_path / "disentangle" / "models" / "model.pt")
    commands.clear()
    redrawn = METHODS["dadr"]._replace(name="m")
    (stage,) = redrawn.stages
    run(
        tmp_path / "r",
        redrawn,
        [Training("translation", tmp_path / "one", (), {}, stage), Training("", tmp_path, (), {})],
    )
    assert [one[0] for one in commands] == ["training", "translating", "training", "evaluating"]
    output = str(tmp_path / "r" / "translation" / "output")
    assert (commands[1][2]["--output_dir"], commands[1][2]["--representation"]) == (output, "content")
    assert commands[2][2]["--dataset_dir"] == output
    assert commands[2][1].endswith("target_0.json']")  # the target has no label here
    commands.clear()
    alone = METHODS["individual"]._replace(name="m")
    run(tmp_path / "a", alone, [Training(m, tmp_path / "b", (), {"modalities": [m]}) for m in ("ct", "mr")])
    assert [one[2]["--modalities"] for one in commands] == ["['ct']", "['ct']", "['mr']", "['mr']"]


def test_values_reach_a_config_as_they_are(tmp_path):
    given = {"a": False, "b": None, "c": "None", "d": "1", "e": [True, 0.5, "x"], "f": "T2 präz", "g": {"h": False}}
    words = module.command_words("training", tmp_path, ["train"], given)
    assert parse_run_command(["x/monai/bundle/__main__.py", *words]).overrides == given


def test_steps_of_stages_count(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(module, "_steps", lambda _: 5)
    method = METHODS["disentangle"]._replace(name="m")
    trainings = [Training("disentangle", tmp_path, (), {}, method.stages[0]), Training("", tmp_path, (), {})]
    assert run(tmp_path, method, trainings).steps == 10


def test_a_subject_without_the_source_is_no_failure_of_what_copies_it(tmp_path, monkeypatch):
    items = [{"subject": s, "modality": m, "label": "l"} for s, m in (("s1", "cine"), ("s1", "lge"), ("s2", "lge"))]
    asked: dict = {}
    monkeypatch.setattr(baselines, "load_datalist", lambda *_: items)
    monkeypatch.setattr(baselines.baselines, "copy_baseline", lambda *_, **__: {"s1": tmp_path})
    monkeypatch.setattr(
        baselines, "evaluate_predictions", lambda *_, **given: asked.update(given) or module.ScoreTable()
    )
    baselines.run_baseline_cell(METHODS["copy"], Cell("copy", "s", 0, 0), tmp_path, tmp_path, FACTS, False)
    assert asked["subjects"] == {"s1"}


def test_steps_are_counted_in_epochs():
    assert settings_of_steps(7) == {"max_epochs": 1, "epoch_length": 7, "val_interval": 1}
    found = settings_of_steps(1000)
    assert found["max_epochs"] * found["epoch_length"] == 1000
    assert decay_of(found, {"lr_decay": 0.9}) == {"lr_decay": round(0.055 ** (1 / 40), 4)}
