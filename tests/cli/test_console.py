# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a command writes at its end."""

from __future__ import annotations

import os

import pytest

import monai_mmseg
from monai_mmseg.evaluation import Score, ScoreTable


def scores():
    cases = [("ct", "liver", 0.9, ""), ("ct", "spleen", 0.0, "missed"), ("mr", "liver", 0.7, "")]
    return ScoreTable(
        Score("ours", f"{modality}{subject}", {"modality": modality, "class": name}, {"dice": dice}, flag)
        for modality, name, dice, flag in cases
        for subject in (1, 2)
    )


def test_scores_by_modality_and_class(capsys, tmp_path):
    monai_mmseg.cli.print_scores(scores())
    shown = capsys.readouterr().out
    assert shown.splitlines() == [
        "ours: mean ± standard deviation over subjects",
        "modality  class   Dice           subjects  missed  spurious",
        "--------  ------  -------------  --------  ------  --------",
        "ct        liver   0.900 ± 0.000  2         0 of 2  0",
        "ct        spleen  0.000 ± 0.000  2         2 of 2  0",
        "ct        mean    0.450 ± 0.000  2         2 of 4  0",
        "mr        liver   0.700 ± 0.000  2         0 of 2  0",
        "mr        mean    0.700 ± 0.000  2         0 of 2  0",
    ]
    monai_mmseg.cli.print_scores(scores().save(tmp_path, "ours")["json"])
    assert capsys.readouterr().out == shown


def test_scores_of_images(capsys):
    case = {"source": "t1", "target": "t2"}
    monai_mmseg.cli.print_scores(ScoreTable([Score("ours", "s1", case, {"psnr": 20.0})]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["reconstructed", "PSNR", "[dB]", "subjects", "left", "out"]
    assert lines[3].split() == ["t2", "20.00", "1", "0"]


@pytest.mark.usefixtures("_here")
def test_what_was_written(capsys, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").touch()
    (tmp_path / "eval").mkdir()
    for name in ("s1_seg.nii.gz", "s2_seg.nii.gz", "old_seg.nii.gz", "report.html"):
        (tmp_path / "eval" / name).touch()
    os.utime(tmp_path / "eval" / "old_seg.nii.gz", (1e9, 1e9))
    monai_mmseg.cli.print_written(
        model=tmp_path / "models/model.pt",
        last_model=str(tmp_path / "models/model.pt"),
        settings=tmp_path / "models/settings.json",
        predictions=tmp_path / "eval",
        report=tmp_path / "eval/report.html",
        nothing=None,
    )
    paths = [("model", "models/model.pt"), ("predictions", "eval"), ("report", "eval/report.html")]
    lines = [f"  {name:<11}  {path.replace('/', os.sep)}" for name, path in paths]
    lines[1] += " (2 volumes)"
    assert capsys.readouterr().out.splitlines() == ["written:", *lines]
    monai_mmseg.cli.print_written(model="nowhere", predictions=tmp_path / "models")
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("_here")
def test_other_processes_say_nothing(capsys, tmp_path, monkeypatch):
    (tmp_path / "model.pt").touch()
    monkeypatch.setattr("monai_mmseg.distributed.rank", lambda: 1)
    monai_mmseg.cli.print_written(model=tmp_path / "model.pt")
    assert capsys.readouterr().out == ""


@pytest.fixture
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
