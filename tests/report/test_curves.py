# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves by class and modality, and training against validation."""

from __future__ import annotations

import re

from monai_mmseg.report import write_report
from monai_mmseg.report.curves import Curve, curve_chart, dice_charts, training_against_validation
from monai_mmseg.runs import RunRecorder
from monai_mmseg.visualize import LABEL_COLORS
from tests.report.test_page import read

TERMS = {
    "fit/total": [3.0, 2.0, 1.0],
    "validation/val_mean_dice": [None, 0.75, 0.5],
    "validation/dice/ct/LV": [None, 0.5, 1.0],
    "validation/dice/ct": [None, 0.25, 0.5],
    "validation/dice/mr/LV": [None, 0.0, 0.5],
    "validation/dice/mr": [None, 0.0, 0.5],
}


def test_a_chart_a_modality_with_one_axis():
    found = dice_charts([1, 2, 3], TERMS, {"LV": "#123456"})
    assert list(found) == ["ct", "mr"]
    # from 0 to 1 in both: 172 pixels from 8 to 180, epochs at 44, 218 and 392
    assert 'style="stroke: #123456" points="218.0,94.0 392.0,8.0"' in found["ct"]
    assert 'class="line strong" points="218.0,137.0 392.0,94.0"' in found["ct"]
    assert 'style="stroke: #123456" points="218.0,180.0 392.0,94.0"' in found["mr"]
    high = dice_charts([1, 2], {"validation/dice/ct": [0.5, 1.0]}, {})
    assert ">0.5</text>" in high["ct"]  # the axis begins there where nothing is lower
    assert ">0</text>" not in high["ct"]


def test_training_stands_beside_validation():
    (loss, first), (metric, second) = training_against_validation([1, 2, 3], TERMS)
    assert (loss, metric) == ("Training: fit/total", "Validation: mean Dice, best 0.75 in epoch 2")
    assert 'points="44.0,8.0 218.0,94.0 392.0,180.0"' in first
    assert re.search(r'<circle class="dot lead" cx="218.0" cy="8.0"', second)  # the best epoch
    assert training_against_validation([1], {"fit/total": [1.0]}) == []
    assert training_against_validation([1], {"validation/val_mean_dice": [1.0]}) == []
    assert training_against_validation([1], {"fit/total": [1.0], "validation/val_mean_dice": [None]}) == []
    (_, (other, _)) = training_against_validation([1], {"fit/total": [1.0], "validation/val_psnr": [20.0]})
    assert other == "Validation: psnr, best 20 in epoch 1"


def test_the_page_has_both(tmp_path):
    recorder = RunRecorder(tmp_path, "net", settings={"labels": {"0": "background", "1": "LV"}})
    recorder.start()
    for epoch in (1, 2, 3):
        recorder.add_terms(epoch, {name: v[epoch - 1] for name, v in TERMS.items() if v[epoch - 1] is not None})
    text, page = read(write_report(tmp_path))
    charts = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert charts == [
        "fit/total over epochs",
        "validation/val_mean_dice over epochs",
        "Dice of every class on ct over epochs",
        "Dice of every class on mr over epochs",
        "fit/total over epochs",
        "validation/val_mean_dice over epochs",
    ]
    assert text.count(f"stroke: {LABEL_COLORS[0]}") == 2
    assert "mean of the classes" in page.text


def test_a_run_with_nothing_but_dice(tmp_path):
    RunRecorder(tmp_path, "net").add_terms(1, {"validation/dice/ct": 0.0})
    _, page = read(write_report(tmp_path))
    assert "No curves" not in page.text
    assert "not drawn" not in page.text


def test_one_epoch_is_a_dot():
    chart = curve_chart([5], [Curve("a", [0.5], "#123456"), Curve("b", [float("inf")])], name="c")
    assert chart.count("<circle") == 1
    assert "<polyline" not in chart
    assert chart.count(">5</text>") == 1


def test_weights_of_candidates_share_a_chart(tmp_path):
    recorder = RunRecorder(tmp_path, "net")
    recorder.start()
    for epoch in (1, 2):
        recorder.add_terms(epoch, {f"generator/pair_weight_{n}": float(n == 1) for n in (1, 2, 3)})
    text, page = read(write_report(tmp_path))
    charts = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert charts == ["Weights of the candidate slices over epochs"]  # none of its own for each, nor "switched off"
    assert text.count("<title>candidate ") == 3
    assert 'class="line strong" points="44.0,8.0 392.0,8.0"><title>candidate 1<' in text
