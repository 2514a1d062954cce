# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import shutil

import pytest

from monai_mmseg.evaluation import Score, ScoreTable
from monai_mmseg.study import CellResult, StudyError, read_cells, run_study
from monai_mmseg.study import runner as module
from monai_mmseg.study.definition import study_of
from monai_mmseg.study.outlook import refused_cells
from monai_mmseg.study.plans import Training
from tests.study.listed import write_listed


@pytest.fixture
def ran(monkeypatch):
    """Cells that were run; nothing is trained. Method "unet_both" fails, "kill" in the list ends everything."""
    done: list = []

    class Plans:
        def __init__(self, *_) -> None:
            pass

        def trainings(self, method, data=None):
            if method.name == "csa":
                raise module.PlanError("csa cannot be trained on these data: why.")
            return [Training("", None, (), {"max_epochs": 2, "epoch_length": 3})]

    def run_cell(method, trainings, cell, folder, *_, **__):
        done.append(cell)
        if method.name == "unet_both":
            raise RuntimeError("fell; its log is x.log")
        if "kill" in done:
            raise KeyboardInterrupt
        table = ScoreTable([Score(method.name, "s6", {"modality": "lge", "class": "LV"}, {"dice": 0.5})])
        (folder / "scores.json").write_text(table.to_json(), encoding="utf-8")
        return CellResult(cell, folder, "done", steps=6)

    monkeypatch.setattr(module, "Plans", Plans)
    monkeypatch.setattr(module, "run_bundle_cell", run_cell)
    monkeypatch.setattr(module, "warm_up", lambda: None)
    return done


def study(tmp_path, *methods, **more):
    path = write_listed(tmp_path / "data")
    return study_of({"datalist": str(path), "methods": list(methods), "steps": 6, **more})


def states(tmp_path):
    return {(one.cell.method, one.cell.setting, one.cell.seed): one.state for one in read_cells(tmp_path / "out")}


def test_one_that_falls_or_is_refused_costs_no_other(tmp_path, ran):
    said: list[str] = []
    settings = {"all": {}, "none": {"labels": {"lge": 0.0}}}
    given = study(tmp_path, "unet_both", "unet_target", "csa", "nnunet", settings=settings, nnunet=str(tmp_path))
    run_study(given, tmp_path / "out", say=said.append)
    expected = {
        **{("unet_both", name, 0): "failed" for name in settings},
        ("unet_target", "all", 0): "done",
        ("unet_target", "none", 0): "refused",
        **{(method, name, 0): "refused" for name in settings for method in ("csa", "nnunet")},
    }
    assert states(tmp_path) == expected
    reasons = {one.cell.method: one.reason for one in read_cells(tmp_path / "out")}
    assert "its log is x.log" in reasons["unet_both"]
    assert "nnUNetv2_train is not in" in reasons["nnunet"]
    assert any("unet_target all fold 0 seed 0: dice 0.500" in line and "left)" in line for line in said)
    made = {one.state: one.made for one in read_cells(tmp_path / "out")}
    assert "torch" in made["done"]
    assert not made["refused"]


def test_a_plain_network_without_labels_of_the_target_is_refused_where_others_learn_them(tmp_path, ran):
    settings = {"all": {}, "none": {"labels": {"lge": 0.0}}}
    given = study(tmp_path, "unet", "unet_source", settings=settings)
    run_study(given, tmp_path / "out", say=lambda _: None)
    assert [name for (name, *_), state in states(tmp_path).items() if state == "refused"] == ["unet"]
    assert states(tmp_path)["unet", "none", 0] == "refused"
    assert list(refused_cells(given).items()) == [(("unet", "none"), "no training image of lge has a label")]


def test_a_study_that_was_killed_goes_on_and_ended_cells_stay(tmp_path, ran):
    given = study(tmp_path, "dafnet", "unet_source", seeds=[0, 1])
    ran.append("kill")
    with pytest.raises(KeyboardInterrupt):
        run_study(given, tmp_path / "out", say=str)
    ran.clear()
    assert len(run_study(given, tmp_path / "out", say=str)) == 4
    assert len(ran) == 4
    ran.clear()
    (read_cells(tmp_path / "out")[0].folder / "cell.json").write_text("")  # the machine fell
    run_study(given, tmp_path / "out", say=str)
    assert len(ran) == 1
    ran.clear()
    run_study(study(tmp_path, "dafnet", "unet_source", seeds=[0, 1, 2]), tmp_path / "out", say=str)
    assert [cell.seed for cell in ran] == [2, 2]  # seeds may come
    noted = json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8"))
    assert (noted["seeds"], len(noted["cells"])) == ([0, 1, 2], 6)


def test_the_target_is_that_of_the_data_whatever_labels_a_setting_takes(tmp_path, ran):
    given = study(tmp_path, "unet_target", settings={"all": {}, "none": {"labels": {"cine": 0.0}}})
    run_study(given, tmp_path / "out", say=str)
    assert {key[1]: state for key, state in states(tmp_path).items()} == {"all": "done", "none": "done"}


def test_a_study_that_could_not_begin_leaves_nothing_to_clash_with(tmp_path, ran):
    with pytest.raises(StudyError, match="target must be one of"):
        run_study(study(tmp_path, "dafnet", target="lgee"), tmp_path / "out", say=str)
    with pytest.raises(StudyError, match="lanes and threads must be 1 at least"):
        run_study(study(tmp_path, "dafnet"), tmp_path / "out", lanes=0, say=str)
    run_study(study(tmp_path, "dafnet"), tmp_path / "out", say=str)
    assert states(tmp_path) == {("dafnet", "all", 0): "done"}


def test_a_file_that_is_gone_is_told_before_anything_is_trained(tmp_path, ran):
    given = study(tmp_path, "dafnet")
    run_study(study(tmp_path, "unet_source"), tmp_path / "out", say=str)
    for name in ("lge6.nii.gz", "lge6_l.nii.gz"):  # of a tested subject
        (tmp_path / "data" / name).unlink()
    for place in ("out", "other"):  # where cells have ended it is no other study
        with pytest.raises(StudyError, match=r"datalist.json: there is no .*lge6.nii.gz and 1 more. `mmseg data check"):
            run_study(given, tmp_path / place, say=str)
    assert len(ran) == 1


def test_cells_are_of_one_study(tmp_path, ran):
    run_study(study(tmp_path, "dafnet"), tmp_path / "out", say=str)
    with pytest.raises(StudyError, match=r"holds cells of another study: steps differs \(was 6, is 8\)"):
        run_study(study(tmp_path, "dafnet", steps=8), tmp_path / "out", say=str)
    changed = {"name": "dafnet", "method": "dafnet+spade"}
    with pytest.raises(StudyError, match="another study: methods dafnet differs"):
        run_study(study(tmp_path, changed), tmp_path / "out", say=str)
    path = write_listed(tmp_path / "data", test=3)  # beneath the same path
    given = study_of({"datalist": str(path), "methods": ["dafnet"], "steps": 6, "seeds": [3]})
    with pytest.raises(StudyError, match="all, fold 0: test s8 cine, test s8 lge changed since 1 of them ended"):
        run_study(given, tmp_path / "out", say=str)
    (tmp_path / "out" / "study.json").write_text('{"methods": ["dafnet"]}')  # of the user
    with pytest.raises(StudyError, match=r"study.json is not the record of a study that ran"):
        run_study(given, tmp_path / "out", say=str)
    record = tmp_path / "out" / "study.json"
    for kept, told in (({"cells": [{"fold": 0}]}, "(cells)"), ({"settings": [], "seeds": 1}, "(settings, seeds)")):
        record.write_text(json.dumps({"methods": {}, **kept}))
        with pytest.raises(StudyError, match=re.escape(f"study.json is not as it was written {told}: put it back")):
            run_study(given, tmp_path / "out", say=str)
    record.write_text("{")
    with pytest.raises(StudyError, match="study.json: .*Put it back as it was, or give another --out"):
        run_study(given, tmp_path / "out", say=str)
    record.unlink()
    with pytest.raises(StudyError, match=r"out holds cells, but no study.json"):
        run_study(given, tmp_path / "out", say=str)


def test_what_has_trained_nothing_may_be_mended(tmp_path, ran):
    run_study(study(tmp_path, "dafnet", "unet_both", "csa"), tmp_path / "out", say=str)
    folder = tmp_path / "out" / "cells" / "all"
    (folder / "unet_both" / "fold0_seed0" / "left.log").write_text("")
    said: list[str] = []
    mended = [{"name": name, "method": "dafnet+spade"} for name in ("csa", "unet_both")]
    ran.clear()
    run_study(study(tmp_path, "dafnet", *mended), tmp_path / "out", say=said.append)
    assert said[0] == "methods csa, methods unet_both: changed; nothing had been trained, and its cells begin anew."
    assert [cell.method for cell in ran] == ["unet_both"]
    assert not (folder / "unet_both" / "fold0_seed0" / "left.log").exists()
    noted = json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8"))
    assert noted["methods"]["csa"]["overlays"] == ["settings/spade"]


@pytest.mark.parametrize("left", ["begun", "weights"])
def test_what_has_trained_does_not_change_though_it_failed(tmp_path, ran, left):
    run_study(study(tmp_path, "unet_both", "dafnet"), tmp_path / "out", say=str)
    cell = tmp_path / "out" / "cells" / "all" / "unet_both" / "fold0_seed0"
    if left == "begun":
        (cell / "cell.json").unlink()
    else:
        (cell / "first" / "models").mkdir(parents=True)
        (cell / "first" / "models" / "resume.pt").write_text("")
    changed = {"name": "unet_both", "method": "unet_both+spade"}
    with pytest.raises(StudyError, match="of which cells/all/unet_both/fold0_seed0 has begun to train"):
        run_study(study(tmp_path, changed, "dafnet"), tmp_path / "out", say=str)
    assert cell.is_dir()


def test_a_study_of_which_nothing_has_trained_takes_other_data(tmp_path, ran):
    run_study(study(tmp_path, "csa", "unet_both"), tmp_path / "out", say=str)
    (tmp_path / "out" / "plans").mkdir(exist_ok=True)
    run_study(study(tmp_path, "dafnet", steps=9, settings={"all": {"labels": {"lge": 2}}}), tmp_path / "out", say=str)
    assert states(tmp_path) == {("dafnet", "all", 0): "done"}
    assert not (tmp_path / "out" / "plans").exists()
    shutil.rmtree(tmp_path / "out" / "cells")  # as of a call that was ended while it planned
    run_study(study(tmp_path, "dafnet", steps=8), tmp_path / "out", say=str)
    assert states(tmp_path) == {("dafnet", "all", 0): "done"}


def test_what_learns_nothing_runs_once(tmp_path, ran, monkeypatch):
    monkeypatch.setattr(
        module, "run_baseline_cell", lambda method, cell, folder, *_: CellResult(cell, folder, "failed")
    )
    run_study(study(tmp_path, "copy", "dafnet", seeds=[0, 1], folds=2), tmp_path / "out", say=str)
    cells = [one.cell for one in read_cells(tmp_path / "out")]
    assert [(cell.fold, cell.seed) for cell in cells if cell.method == "copy"] == [(0, 0)]
    run_study(study(tmp_path, "copy", "dafnet", seeds=[1, 2]), tmp_path / "out", say=str)
    assert [one.cell.seed for one in read_cells(tmp_path / "out") if one.cell.method == "copy"] == [0]
    assert len([cell for cell in cells if cell.method == "dafnet"]) == 4
