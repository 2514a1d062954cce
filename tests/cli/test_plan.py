# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg plan`` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

import monai_mmseg.planning
from monai_mmseg.cli.main import main
from monai_mmseg.planning import Fired, Plan, PlanError


@pytest.fixture
def made(monkeypatch, tmp_path):
    """What the command gave to the planner; nothing is measured."""
    given = {}

    def make_plan(datalist, out, **settings):
        given.update(settings, datalist=datalist, out=out)
        if settings["method"] == "csa":
            raise PlanError("csa cannot be trained on these data: why.")
        fired = [Fired("size", "spatial_size", [64, 64], "holds the organ", ("foreground",))]
        stages = ["stage_one/configs/train.json", "configs/train.json"]
        facts = {"labels": "ct: 3 of 3"}
        lends = ("cine", "lge") if settings["method"] == "dafnet" else ()
        return Plan(Path(out), "unpaired", facts, "ummkd", "since", fired, 540.0, tmp_path / "before", stages, *lends)

    monkeypatch.setattr(monai_mmseg.planning, "make_plan", make_plan)
    return given


def test_what_is_printed(made, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "DATA/datalist.json", "--out", "mine", "--budget", "10m", "--may-lack", "flair", "t1"]) == 0
    text = capsys.readouterr().out
    for line in (
        "situation: unpaired",
        "  labels: ct: 3 of 3",
        "method: ummkd: since",
        "size  spatial_size  [64, 64]  holds the organ",
        "the bundle that was trained here is now before",
        "written: mine, with plan.json; training will take about 9 min:",
        "  python -m monai.bundle run training --config_file mine/stage_one/configs/train.json",
        "  python -m monai.bundle run training --config_file mine/configs/train.json",
    ):
        assert line in text
    assert (made["budget"], made["may_lack"], made["overwrite"]) == ("10m", ["flair", "t1"], False)


def test_a_target_without_labels_is_shown_the_way_to_registered_masks(made, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "DATA/datalist.json", "--out", "mine", "--method", "dafnet"]) == 0
    text = capsys.readouterr().out
    assert text.endswith(
        "  mmseg baseline register DATA/datalist.json --source cine --target lge --section training --out mine_masks\n"
        "  mmseg data label DATA/datalist.json mine_masks --modality lge --out mine_data/datalist.json\n"
        "  mmseg plan mine_data/datalist.json --out mine_registered\n"
    )
    assert main(["plan", "MY DATA/datalist.json", "--out", "my plan", "--budget", "10m", "--method", "dafnet"]) == 0
    out = capsys.readouterr().out
    assert "  python -m monai.bundle run training --config_file 'my plan/" in out
    assert "  mmseg baseline register 'MY DATA/datalist.json' " in out
    assert "  mmseg plan 'my plan_data/datalist.json' --out 'my plan_registered' --budget 10m\n" in out
    assert main(["plan", "DATA/datalist.json", "--out", "mine"]) == 0
    assert "registered" not in capsys.readouterr().out


def test_what_cannot_be_is_one_line(made, capsys):
    assert main(["plan", "DATA/datalist.json", "--out", "mine", "--method", "csa"]) == 1
    assert capsys.readouterr().err == "mmseg plan: csa cannot be trained on these data: why.\n"
