# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""All modalities in the headline and the worst cases, every subject, volumes: all worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from monai_mmseg.evaluation import Score, ScoreTable, score_volume
from monai_mmseg.report import html, write_report
from monai_mmseg.report.content import RunContent, read_run
from monai_mmseg.report.numbers import class_colors, headline, methods_table, subject_rows, volumes, worst_scores
from monai_mmseg.report.scatter import volume_chart
from monai_mmseg.runs import RunRecorder
from monai_mmseg.visualize import LABEL_COLORS
from tests.report.test_page import read


def organ(subject, modality, name, dice, *, true=100.0, found=110.0, flag="", method="net"):
    values = {"dice": dice, "hausdorff95": 10 * dice, "surface_distance": 1.0}
    values |= {} if true is None else {"true_volume": true, "predicted_volume": found}
    return Score(method, subject, {"modality": modality, "class": name}, values, flag)


@pytest.fixture
def table():
    return ScoreTable(
        [
            organ("s1", "mr", "liver", 0.8, true=1000.0, found=1100.0),
            organ("s1", "mr", "spleen", 0.0, true=100.0, found=0.0, flag="missed"),
            organ("s2", "mr", "liver", 0.6, true=1000.0, found=900.0),
            organ("s2", "mr", "spleen", 0.6, true=100.0, found=150.0),
            organ("s1", "ct", "liver", 0.9, true=None),
            organ("s1", "ct", "spleen", 0.5, true=None, flag="spurious"),
        ]
    )


@pytest.fixture
def run(tmp_path, table):
    settings = {"labels": {"0": "background", "1": "spleen", "2": "liver"}}
    with RunRecorder(tmp_path / "run", "net", modality="ct", settings=settings) as recorder:
        recorder.add_table(table)
    return tmp_path / "run"


def test_every_modality_is_in_the_headline(run):
    found = headline(read_run(run))
    assert found.modalities == ["ct", "mr"]  # the run's own first
    assert [tile["label"] for tile in found.tiles] == [f"{m}: Dice, mean of 2 classes" for m in ("ct", "mr")]
    # ct: (0.9 + 0.5) / 2; mr: subjects 0.4 and 0.6
    assert [tile["value"] for tile in found.tiles] == ["0.700", "0.500"]
    # ct: a spurious organ is not there to be missed; mr: sd of 0.4 and 0.6 is 0.1 * sqrt(2)
    assert found.tiles[0]["note"].splitlines() == ["1 subject", "HD95 7.0 mm", "organs missed: 0 of 1"]
    assert found.tiles[1]["note"].splitlines() == [
        *("± 0.141 over 2 subjects", "HD95 5.0 ± 1.4 mm", "organs missed: 1 of 4"),
    ]
    _, page = read(write_report(run))
    assert "net on ct, mr" in page.text


def test_each_modality_has_a_comparison(run, table):
    other = ScoreTable(
        organ(s.subject, s.case["modality"], s.case["class"], 0.5, method="copy", true=s.values.get("true_volume"))
        for s in table
    )
    other.save(run / "metrics", "copy")
    assert [text.split(",")[0] for text in headline(read_run(run)).comparisons] == [
        "ct: +0.200 Dice against copy",
        "mr: +0.000 Dice against copy",
    ]


def test_other_labels_are_not_compared(run, table):
    """Labels of mr were changed between two evaluations; rounding is no change."""
    for name, dice, factor in (("copy", 0.4, 1.05), ("other", 0.3, 1 + 1e-7)):
        truths = [(s, s.values.get("true_volume")) for s in table]
        ScoreTable(
            organ(s.subject, s.case["modality"], s.case["class"], dice, method=name, true=ml and factor * ml)
            for s, ml in truths
        ).save(run / "metrics", name)
    content = read_run(run)
    told = "were scored against different labels of mr (true volumes of s1, s2 differ): they are not compared."
    notes = [note for note in content.remarks if "different labels" in note]
    assert notes == [f"{pair} {told} Evaluate both again." for pair in ("copy and net", "copy and other")]
    # ct has no volumes; mr: without copy, against the second best
    assert [text.partition(" (")[0].split(",")[0] for text in headline(content).comparisons] == [
        *("ct: +0.300 Dice against copy", "mr: +0.200 Dice against other"),
    ]
    assert [methods_table(content.table, name)["same_labels"] for name in ("ct", "mr")] == [True, False]
    best = [cell["best"] for row in methods_table(content.table, "mr")["rows"] for cell in row["cells"]]
    assert not any(best)
    (run / "metrics" / "other.json").unlink()
    _, page = read(write_report(run))
    assert "mr: No difference to copy is given: scored against other labels." in page.text
    assert page.text.count(told) == 1
    assert page.text.count("were not scored on the same labels: nothing is marked as best") == 1
    assert page.text.count("against copy") == 1  # on ct


def test_worst_cases_are_of_all_modalities(run, table):
    found = [(one.case["modality"], one.subject, one.case["class"]) for one in worst_scores(table, "net")]
    assert found[:2] == [("mr", "s1", "spleen"), ("ct", "s1", "spleen")]
    _, page = read(write_report(run))
    assert "over all modalities" in page.text
    rows = page.text[page.text.index("Worst cases") : page.text.index("Volumes")].splitlines()
    assert next(row for row in rows if row.startswith("s1")).startswith("s1mrspleen0.000")


def test_every_subject_has_a_line(table):
    found = subject_rows(table, "net")
    assert found["classes"] == ["liver", "spleen"]
    assert [tuple(row.values()) for row in found["rows"]] == [
        ("s1", "ct", ["0.900", "0.500"], "0.700", "7.0", "spleen not there, but predicted"),
        ("s1", "mr", ["0.800", "0.000"], "0.400", "4.0", "spleen missed"),
        ("s2", "mr", ["0.600", "0.600"], "0.600", "6.0", ""),
    ]


def test_classes_of_one_modality_are_dashes_in_others():
    found = subject_rows(ScoreTable([organ("s1", "ct", "a", 0.5), organ("s1", "mr", "b", 0.25)]), "net")
    assert [row["dice"] for row in found["rows"]] == [["0.500", "–"], ["–", "0.250"]]


@pytest.mark.parametrize(("subjects", "is_open"), [(12, True), (13, False)])
def test_a_long_table_of_subjects_is_folded(tmp_path, subjects, is_open):
    with RunRecorder(tmp_path, "net") as recorder:
        recorder.add_table(ScoreTable(organ(f"s{at}", "ct", "liver", 0.5) for at in range(subjects)))
    _, page = read(write_report(tmp_path))
    (found,) = [attributes for tag, attributes in page.tags if tag == "details"]
    assert ("open" in found) == is_open
    assert f"{subjects} images" in page.text


def test_volumes_by_hand(table):
    (found,) = volumes(table, "net", ["ct", "mr"])  # ct has none, as in older files
    assert found.modality == "mr"
    assert found.points["spleen"] == [("s1", 100.0, 0.0), ("s2", 100.0, 150.0)]
    # liver: +100 and -100, sd 100 * sqrt(2); spleen: -100 and +50, mean -25, sd 75 * sqrt(2)
    assert found.rows == [
        ("liver", "2", "1000", "1000", "+0 ± 141", "+0"),
        ("spleen", "2", "100", "75", "-25 ± 106", "-25"),
    ]
    assert volumes(ScoreTable([organ("s", "ct", "a", 0.5, true=0.0, found=0.5)]), "net", ["ct"])[0].rows == [
        ("a", "1", "0.00", "0.50", "+0.50", "–")
    ]


def test_older_tables_make_a_page_without_volumes(tmp_path):
    with RunRecorder(tmp_path, "net") as recorder:
        recorder.add_table(ScoreTable([organ("s1", "ct", "liver", 0.5, true=None)]))
    _, page = read(write_report(tmp_path))
    assert "Volumes" not in page.text


def test_volumes_of_a_segmentation():
    """Voxels of 1 x 2 x 4 mm: 8 of them are 0.064 ml."""
    label, prediction = np.zeros((2, 6, 6, 6), dtype=int)
    label[:2, :2, :2] = 1
    prediction[:2, :2, :1] = 1
    (score,) = score_volume(prediction, label, labels={1: "a"}, spacing=(1, 2, 4))
    assert score.values["true_volume"] == pytest.approx(0.064)
    assert score.values["predicted_volume"] == pytest.approx(0.032)


def test_volumes_are_in_files_and_not_in_printed_tables(table, tmp_path):
    paths = table.save(tmp_path, "a")
    assert ScoreTable.from_json(paths["json"]) == table
    head, first, *_ = paths["csv"].read_text(encoding="utf-8").splitlines()
    assert head == "method,modality,class,subject,dice,hausdorff95,surface_distance,predicted_volume,true_volume,flag"
    assert first == "net,mr,liver,s1,0.8,8.0,1.0,1100.0,1000.0,"
    assert "volume" not in paths["md"].read_text(encoding="utf-8")


def test_volume_chart_puts_equal_volumes_on_the_line():
    chart = volume_chart({"a": [("s1", 0.0, 0.0), ("s2", 100.0, 100.0)]}, {"a": "#123456"}, name="V")
    # 276 pixels from (52, 288) are 105 ml: 100 ml lie 262.9 to the right and above
    assert 'class="dot edged" cx="52.0" cy="288.0"' in chart
    assert 'class="dot edged" cx="314.9" cy="25.1"' in chart
    assert "fill: #123456" in chart
    assert "square roots" not in chart
    with pytest.raises(ValueError, match="at least one subject"):
        volume_chart({"a": []}, {}, name="V")


def test_volumes_of_very_different_classes_have_axes_of_roots():
    chart = volume_chart({"liver": [("s1", 1600.0, 1600.0)], "cyst": [("s1", 1.0, 1.0)]}, {}, name="V")
    assert "axes of square roots" in chart
    # sqrt(1 / 1680) of 276 pixels
    assert 'cx="58.7"' in chart
    assert volume_chart({"a": [("s1", 0.0, 0.0)]}, {}, name="V").count("<circle") == 1


def test_colours_are_those_of_the_pictures(run):
    assert class_colors(read_run(run)) == {"spleen": LABEL_COLORS[0], "liver": LABEL_COLORS[1]}
    without = RunContent(run, table=ScoreTable([organ("s", "ct", "a", 0.5), organ("s", "ct", "b", 0.5)]))
    assert class_colors(without) == {"a": LABEL_COLORS[0], "b": LABEL_COLORS[1]}


def test_markdown_has_modalities_volumes_and_subjects(run, monkeypatch):
    monkeypatch.setattr(html, "_has_jinja2", False)
    text = write_report(run).read_text(encoding="utf-8")
    assert "- ct: Dice, mean of 2 classes: 0.700 1 subject, HD95 7.0 mm, organs missed: 0 of 1" in text
    assert "| spleen | 2 | 100 | 75 | -25 ± 106 | -25 |" in text
    assert "| s1 | mr | 0.800 | 0.000 | 0.400 | 4.0 | spleen missed |" in text
