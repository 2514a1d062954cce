# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Foretold quality on the page."""

from __future__ import annotations

import math

import pytest

from monai_mmseg.evaluation import Score, ScoreTable
from monai_mmseg.evaluation.quality import Quality, write_quality
from monai_mmseg.report import write_report
from monai_mmseg.runs import RunRecorder, record_evaluation

SHA_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
DISTANCES = {"hausdorff95": 3.0, "surface_distance": 1.0}
DICE = {"s1": 0.5, "s2": 0.9, "s3": 0.7}


def make(folder):
    scores = [Score("net", s, {"modality": "lge", "class": "LV"}, {"dice": d, **DISTANCES}) for s, d in DICE.items()]
    with RunRecorder(folder, "trial") as recorder:
        recorder.add_table(ScoreTable(scores), "net")
    return folder


def page(folder):
    return write_report(folder).read_text(encoding="utf-8")


def test_a_section_where_there_is_a_file(tmp_path):
    assert "Foretold quality" not in page(make(tmp_path))
    ends = {"s1": (0.55, 0.65), "s2": (0.9, 1.0), "s3": (0.7, 0.9)}  # the true ones of s2 and s3 lie within
    rows = [Quality(s, "", "LV", d + 0.1, d, math.nan, 0.1, "shift", *ends[s]) for s, d in DICE.items()]
    write_quality(tmp_path / "predictions" / "quality.csv", rows)
    text = page(tmp_path)
    section = text[text.index("Foretold quality") : text.index("Pictures")]
    assert section.count('class="dot edged"') == 3
    assert "LV, s2: 1.000 foretold, 0.900 true" in section
    assert section.count('<polygon class="box"') == 1
    within = ("true Dice within the interval (80% meant)", "67%")
    for name, value in (("mean absolute error", "0.100"), ("area under risk-coverage", "0.200"), within):
        assert f'<td class="text">{name}</td><td>{value}</td>' in section  # (0.1 + 0.2 + 0.3) / 3


def test_subjects_without_a_foretold_dice_are_left_out_and_named(tmp_path):
    rows = [Quality(s, "", "LV", d + 0.1, d, math.nan, 0.1, "shift") for s, d in DICE.items()]
    rows[1] = rows[1]._replace(predicted_dice=math.nan, missing="cine")
    write_quality(make(tmp_path) / "predictions" / "quality.csv", rows)
    text = page(tmp_path)
    assert "foretold by the line that was fitted" in text
    assert "No Dice is foretold for s2 (cine missing)" in text
    assert '<td class="text">images and classes</td><td>2</td>' in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "a" * 64}, "it foretells the Dice of other weights"),
        ({"samples": "shift, labels of mean"}, "it foretells the Dice of labels of the mean"),
        ({}, ""),
        ({"weights": ""}, ""),  # written before they were noted
    ],
)
def test_what_was_foretold_of_other_labels_than_were_scored_is_left_out(tmp_path, change, said):
    make(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"abc")
    record_evaluation(tmp_path, tmp_path, "metrics/net.json", section="test")
    rows = [Quality(s, "", "LV", math.nan, d, d, 0.1, "shift", weights=SHA_OF_ABC) for s, d in DICE.items()]
    write_quality(tmp_path / "predictions" / "quality.csv", [row._replace(**change) for row in rows])
    text = page(tmp_path)
    assert ("Foretold quality" in text) == (not said)
    assert not said or f"quality.csv is left out: {said}" in text


def test_a_broken_file_is_named(tmp_path):
    make(tmp_path)
    (tmp_path / "quality.csv").write_text("a,b\n1,2\n")
    text = page(tmp_path)
    assert "quality.csv is left out" in text
    assert "Foretold quality" not in text
