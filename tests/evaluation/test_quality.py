# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Foretold quality in files: read as written, joined with what came true, and calibrated for one network."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from monai_mmseg.evaluation import Score, ScoreTable
from monai_mmseg.evaluation.quality import (
    Pair,
    Quality,
    calibrate,
    compare_quality,
    read_calibration,
    read_quality,
    true_pairs,
    unforetold_text,
    with_foretold,
    write_calibration,
    write_quality,
)

ROWS = [
    Quality(s, "", "LV", math.nan, e, p, 0.1, "shift")
    for s, e, p in [("s1", 0.7, 0.9), ("s2", 0.9, 0.5), ("s3", 0.8, 0.9), ("s4", 0.6, 0.7)]
]
DICE = {"s1": 0.5, "s2": 0.9, "s3": 0.7, "s4": 0.3}  # 2 x expected - 0.9; pairwise says nothing


def table(modality="lge"):
    return ScoreTable([Score("net", s, {"modality": modality, "class": "LV"}, {"dice": d}) for s, d in DICE.items()])


def pairs():
    return true_pairs(ROWS, table(), "net")


def test_a_file_is_read_as_written(tmp_path):
    odd = Quality("s 1, a", "mr", 'a "b"', 0.5, math.nan, 0.25, math.nan, "shift + style x 4, labels of mean", 0.4, 0.6)
    found = read_quality(write_quality(tmp_path / "q.csv", [odd]))[0]
    assert [str(value) for value in found] == [str(value) for value in odd]


@pytest.mark.parametrize(
    "wrong", [{"expected_dice": 95.0}, {"pairwise_dice": -0.1}, {"entropy": math.inf}, {"predicted_high": 1.1}]
)
def test_numbers_that_cannot_be(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"q.csv is broken at 's1': a Dice must be 0 to 1"):
        read_quality(write_quality(tmp_path / "q.csv", [ROWS[0]._replace(**wrong)]))


def test_rows_meet_their_scores():
    assert [(pair.quality.subject, pair.dice) for pair in pairs()] == list(DICE.items())
    assert true_pairs([ROWS[0]._replace(subject="new"), ROWS[1]], table(), "net") == [Pair(ROWS[1], 0.9)]
    both = table().join(table("cine"))
    named = [row._replace(modality="cine") for row in ROWS]
    assert len(true_pairs(named, both, "net")) == 4
    with pytest.raises(ValueError, match="name their modality"):
        true_pairs(ROWS, both, "net")


def test_comparison_of_four_subjects():
    found = compare_quality(pairs())  # expected_dice: 0.2, 0, 0.1, 0.3 too high
    assert (found.signal, found.pairs) == ("expected_dice", 4)
    assert found.error == pytest.approx(0.15)
    assert found.bias == pytest.approx(0.15)
    assert found.correlation == pytest.approx(1)
    assert found.curve.area == pytest.approx((0.1 + 0.4 / 2 + 0.9 / 3 + 1.6 / 4) / 4) == pytest.approx(found.curve.best)


def test_the_better_signal_is_fitted_and_stored_for_its_network(tmp_path):
    line = calibrate(pairs(), "abc")
    assert (line.signal, line.subjects, line.samples) == ("expected_dice", 4, "shift")
    assert line.line == pytest.approx((2, -0.9))
    assert line.error == pytest.approx(0, abs=1e-9)
    write_calibration(tmp_path, line)
    assert read_calibration(tmp_path, "abc", "shift") == line
    assert read_calibration(tmp_path / "elsewhere", "abc", "shift") is None
    for weights, samples, what in (("new", "shift", "weights"), ("abc", "mirror", "samples")):
        with pytest.raises(ValueError, match=f"fitted for other {what} .* fit again"):
            read_calibration(tmp_path, weights, samples)


def test_a_line_without_an_interval_is_read_as_one_that_says_nothing(tmp_path):
    write_calibration(tmp_path, calibrate(pairs(), "abc"))
    stored = json.loads((tmp_path / "quality.json").read_text())
    older = {key: stored[key] for key in stored if key not in ("radius", "lacked")}
    (tmp_path / "quality.json").write_text(json.dumps(older))
    row = read_calibration(tmp_path, "abc", "shift").foretell(ROWS[0])  # written before there were intervals
    assert (row.predicted_low, row.predicted_dice, row.predicted_high) == (0, pytest.approx(0.5), 1)


def test_nothing_is_foretold_without_what_all_of_the_fit_had(tmp_path):
    """A subject of the fit lacked t1, none lacked t2."""
    lacking = {"s1": "t1"}
    fitted = [
        pair._replace(quality=pair.quality._replace(missing=lacking.get(pair.quality.subject, ""))) for pair in pairs()
    ]
    write_calibration(tmp_path, calibrate(fitted, "abc"))
    line = read_calibration(tmp_path, "abc", "shift")
    assert line.lacked == ("t1",)
    told = {text: line.foretell(ROWS[0]._replace(missing=text)) for text in ("", "t1", "t2", "t1 + t2")}
    assert {text: row.predicted_dice for text, row in told.items() if math.isfinite(row.predicted_low)} == {
        "": pytest.approx(0.5),
        "t1": pytest.approx(0.5),
    }
    assert all(math.isnan(told[text].predicted_dice) for text in ("t2", "t1 + t2"))
    rows = [row._replace(subject=f"s{number}") for number, row in enumerate(told.values())]
    write_quality(tmp_path / "q.csv", rows)
    assert [row.lacks for row in read_quality(tmp_path / "q.csv")] == [(), ("t1",), ("t2",), ("t1", "t2")]
    why = "all validation subjects of the fit had a modality that is missing"
    assert unforetold_text(rows) == f"No Dice is foretold for s2 (t2 missing), s3 (t1 + t2 missing): {why}."
    assert unforetold_text(rows[:2]) == ""
    both = [Pair(row, 0.5) for row in rows]
    assert with_foretold(both) == both[:2]
    assert compare_quality(with_foretold(both)).signal == "predicted_dice"
    assert with_foretold(fitted) == fitted  # nothing was foretold


def test_nothing_is_foretold_for_a_modality_that_the_fit_had_no_image_of(tmp_path):
    fitted = [pair._replace(quality=pair.quality._replace(modality="ct")) for pair in pairs()]
    write_calibration(tmp_path, calibrate(fitted, "abc"))
    line = read_calibration(tmp_path, "abc", "shift")
    assert line.modalities == ("ct",)
    ct, mr, unnamed = (line.foretell(ROWS[0]._replace(modality=name)) for name in ("ct", "mr", ""))
    assert (ct.predicted_dice, unnamed.predicted_dice) == (pytest.approx(0.5), pytest.approx(0.5))
    assert math.isnan(mr.predicted_dice)
    assert math.isnan(mr.predicted_low)
    told = [Pair(ct, 0.5), Pair(mr, 0.5)]
    assert with_foretold(told) == told[:1]
    assert with_foretold(told[1:]) == told[1:]
    assert unforetold_text([ct, mr]).startswith("No Dice is foretold for images of mr: the line was fitted on others")
    assert unforetold_text([mr]) == ""  # nothing was fitted
    write_calibration(tmp_path, calibrate(pairs(), "abc"))  # of a bundle that segments a subject once
    assert read_calibration(tmp_path, "abc", "shift").modalities == ()


def _subject(rng, name):
    signal = rng.uniform(0.5, 1, 3)
    dice = np.clip(1.6 * signal - 0.75 + rng.normal(0, 0.05) + rng.normal(0, 0.04, 3), 0, 1)
    values = zip("abc", signal.tolist(), rng.uniform(size=3).tolist(), dice.tolist(), strict=True)
    return [Pair(Quality(name, "", one, math.nan, s, noise, 0.1, "shift"), d) for one, s, noise, d in values]


@pytest.mark.parametrize("subjects", [4, 9])
def test_the_interval_holds_what_it_promises(subjects):
    """Lines and intervals of few subjects, each tried on ten new ones of the same kind."""
    rng, found = np.random.default_rng(subjects), []
    for _ in range(60):
        stored = calibrate([pair for one in range(subjects) for pair in _subject(rng, str(one))], "abc")
        new = [pair for one in range(10) for pair in _subject(rng, str(one))]
        told = [Pair(stored.foretell(pair.quality), pair.dice) for pair in new]
        found.append(compare_quality(told).within)
    assert 0.8 <= np.mean(found) < 0.95
    few = [pair for one in range(3) for pair in _subject(rng, str(one))]
    assert calibrate(few, "abc").radius == 1  # four subjects are needed
    assert math.isnan(compare_quality(few).within)  # nothing was foretold


def test_visits_of_one_person_are_one_to_the_fit():
    """Twice the same visit adds nothing: neither a person to foretell from, nor one more to be wrong about."""
    once = pairs()
    seen = [s._replace(subject=f"{s.subject}_{n}", person=s.subject) for s in table() for n in "12"]
    rows = [row._replace(subject=f"{row.subject}_{n}") for row in ROWS for n in "12"]
    twice = true_pairs(rows, ScoreTable(seen), "net")
    assert [pair.whose for pair in twice] == [name for name in DICE for _ in "12"]
    first, second = calibrate(once, "abc"), calibrate(twice, "abc")
    assert (second.subjects, second.pairs) == (first.subjects, 2 * first.pairs) == (4, 8)
    assert (*second.line, second.error, second.radius) == pytest.approx((*first.line, first.error, first.radius))
    with pytest.raises(ValueError, match="three persons or more with labels, got 2"):
        calibrate(twice[:4], "abc")


def test_a_line_is_of_the_weights_that_predicted(tmp_path):
    rows = [row._replace(weights="abc") for row in ROWS]
    assert read_quality(write_quality(tmp_path / "q.csv", rows))[0].weights == "abc"
    of_old = true_pairs(rows, table(), "net")
    assert calibrate(of_old, "abc") == calibrate(pairs(), "abc")  # a file without them is taken as it is
    with pytest.raises(ValueError, match="predictions of the weights that the line is for, got some of others .abc"):
        calibrate(of_old, "new")


@pytest.mark.parametrize("wrong", [{"radius": None}, {"line": {"slope": None, "intercept": 0.1}}])
def test_a_line_without_numbers_is_broken_before_anything_is_predicted(tmp_path, wrong):
    path = write_calibration(tmp_path, calibrate(pairs(), "abc"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **wrong}))
    with pytest.raises(ValueError, match="broken: slope, intercept and radius must be numbers"):
        read_calibration(tmp_path, "abc", "shift")


def test_what_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="three persons or more with labels, got 2"):
        calibrate(pairs()[:2], "abc")
    with pytest.raises(ValueError, match="three or more without any one person, got 2: of one class, label four"):
        calibrate(pairs()[:3], "abc")  # a line of two says nothing of the third
    with pytest.raises(ValueError, match="one kind of samples"):
        calibrate([*pairs(), Pair(ROWS[0]._replace(samples="mirror"), 0.1)], "abc")
    with pytest.raises(ValueError, match="at least one, got none"):
        compare_quality([])
    with pytest.raises(ValueError, match="signal must be one that all rows have"):
        compare_quality(pairs(), "predicted_dice")
    with pytest.raises(FileNotFoundError, match="--uncertainty true"):
        read_quality(tmp_path / "quality.csv")
    (tmp_path / "quality.csv").write_text("subject,class\ns1,LV\n")
    with pytest.raises(ValueError, match="must have the columns"):
        read_quality(tmp_path / "quality.csv")
    (tmp_path / "quality.json").write_text('{"format": "monai_mmseg.quality/1"}')
    with pytest.raises(ValueError, match="broken.*fit again"):
        read_calibration(tmp_path, "abc", "shift")
