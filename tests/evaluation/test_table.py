# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The table of an evaluation: means over subjects worked out by hand, files that come back unchanged."""

from __future__ import annotations

import csv
import json
import math

import pytest

from monai_mmseg.evaluation import FOREGROUND, EvaluationTable, MethodInfo, ScoreRow, mean_sd, subject_means


def row(subject, label, dice, distance=2.0, method="dafnet", **flags):
    name = {1: "LV", 2: "myocardium"}[label]
    return ScoreRow(method, "lge", subject, label, name, dice, 2 * distance, 1.5 * distance, distance, **flags)


@pytest.fixture
def table():
    rows = [
        row("s1", 1, 0.9),
        row("s1", 2, 0.7, 4.0),
        row("s2", 1, 0.7),
        row("s2", 2, 0.0, 100.0, missed=True),
        row("s3", 1, 1.0, 0.0, empty=True),
        row("s3", 2, 0.0, 100.0, spurious=True),
    ]
    return EvaluationTable(rows, {"dafnet": MethodInfo(100.0, "no LGE labels")})


def test_means_are_over_subjects(table):
    lv, myocardium, foreground = table.summary()
    assert (lv.name, myocardium.name, foreground.name) == ("LV", "myocardium", FOREGROUND)
    # LV: (0.9 + 0.7 + 1.0) / 3; deviations 0.0333, -0.1667, 0.1333; variance (0.00111 + 0.02778 + 0.01778) / 2
    assert lv.dice.mean == pytest.approx(2.6 / 3)
    assert lv.dice.sd == pytest.approx(math.sqrt(0.0233333333))
    # subject means of Dice: 0.8, 0.35, 0.5
    assert foreground.dice.mean == pytest.approx(0.55)
    assert foreground.dice.sd == pytest.approx(math.sqrt((0.25**2 + 0.2**2 + 0.05**2) / 2))
    # subject means of the distance: 3, 51, 50
    assert foreground.surface_distance.mean == pytest.approx(104 / 3)
    assert foreground.subjects == 3


def test_what_is_not_there_is_counted(table):
    lv, myocardium, foreground = table.summary()
    assert (lv.present, lv.missed, lv.empty, lv.spurious) == (2, 0, 1, 0)
    assert (myocardium.present, myocardium.missed, myocardium.empty, myocardium.spurious) == (2, 1, 0, 1)
    assert myocardium.miss_rate == 0.5
    assert (foreground.present, foreground.miss_rate) == (4, 0.25)


def test_miss_rate_without_any_organ_is_zero():
    (line, _) = EvaluationTable([row("s1", 1, 1.0, 0.0, empty=True)]).summary()
    assert (line.present, line.miss_rate) == (0, 0.0)


def test_one_subject_has_no_deviation():
    line = EvaluationTable([row("s1", 1, 0.5)]).summary()[0]
    assert math.isnan(line.dice.sd)
    assert line.dice.text(3) == "0.500"
    assert line.as_dict()["dice"] == {"mean": 0.5, "sd": None}
    with pytest.raises(ValueError, match="at least one number"):
        mean_sd([])


def test_json_comes_back_equal(table, tmp_path):
    paths = table.save(tmp_path / "deep" / "er", "dafnet")
    again = EvaluationTable.from_json(paths["json"])
    assert again == table
    assert again.methods["dafnet"] == MethodInfo(100.0, "no LGE labels")
    assert json.loads(paths["json"].read_text(encoding="utf-8"))["summary"][2]["miss_rate"] == 0.25


def test_csv_has_one_line_a_row(table, tmp_path):
    table.to_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6
    assert (lines[3]["subject"], lines[3]["label"], float(lines[3]["dice"]), lines[3]["missed"]) == (
        "s2",
        "2",
        0.0,
        "1",
    )


def test_markdown_shows_methods_below_each_other(table):
    both = table.concatenate(EvaluationTable([row("s1", 1, 0.25, method="a|b")], {"a|b": MethodInfo(100.0)}))
    lines = both.to_markdown().splitlines()
    assert lines[2].startswith("| dafnet | lge | 3 | 0.867 ± 0.153 | 0.233 ± 0.404 | 0.550 ± 0.229 |")
    assert lines[2].endswith("| 1 of 4 | 1 | 1 |")
    assert lines[3].startswith(r"| a\|b | lge | 1 | 0.250 | – | 0.250 |")
    assert "distance penalty of 100 mm" in both.to_markdown()
    assert "dafnet: no LGE labels" in both.to_markdown()


def test_columns_of_the_markdown_agree(table):
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_a_row_stands_once(table):
    with pytest.raises(ValueError, match=r"second one of method 'dafnet'.*subject 's1', label 1"):
        table.add(row("s1", 1, 0.1))
    with pytest.raises(ValueError, match="give the two evaluations different method names"):
        table.concatenate(table)


def test_one_penalty_a_method(table):
    other = EvaluationTable([row("s9", 1, 0.5)], {"dafnet": MethodInfo(None)})
    with pytest.raises(ValueError, match=r"one penalty, got 100 mm and the image's diagonal"):
        table.concatenate(other)


def test_select_and_views(table):
    both = table.concatenate(EvaluationTable([row("s7", 1, 0.25, method="copy")]))
    assert list(both.methods) == ["dafnet", "copy"]
    assert both.select(method="copy").subjects() == ["s7"]
    assert both.subjects("dafnet") == ["s1", "s2", "s3"]
    assert len(both.select(modality="cine")) == 0
    assert both.labels == {1: "LV", 2: "myocardium"}
    assert subject_means(list(table), "surface_distance") == {"s1": 3.0, "s2": 51.0, "s3": 50.0}
    with pytest.raises(ValueError, match="measure must be one of"):
        subject_means(list(table), "iou")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dice": math.nan}, "dice must be finite"),
        ({"dice": 1.2}, "dice must be at most 1"),
        ({"hausdorff95": math.inf}, "hausdorff95 must be finite"),
        ({"missed": True, "empty": True}, "at most one of missed"),
    ],
)
def test_impossible_rows_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ScoreRow.from_dict({**row("s1", 1, 0.5).as_dict(), **change})


def test_broken_files_are_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"must be JSON, got .*a\.json"):
        EvaluationTable.from_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"format": "else"}')
    with pytest.raises(ValueError, match=r"format 'monai_mmseg.evaluation/1', got 'else'"):
        EvaluationTable.from_json(tmp_path / "b.json")
    with pytest.raises(ValueError, match=r"got none of \['dice'\]"):
        ScoreRow.from_dict({key: value for key, value in row("s1", 1, 0.5).as_dict().items() if key != "dice"})
    with pytest.raises(ValueError, match=r"got also \['iou'\]"):
        ScoreRow.from_dict({**row("s1", 1, 0.5).as_dict(), "iou": 1})
    with pytest.raises(ValueError, match="methods must name methods that have rows"):
        EvaluationTable([], {"ghost": MethodInfo()})
