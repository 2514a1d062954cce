# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Where the marks of the charts are."""

from __future__ import annotations

import re

import numpy as np
import pytest

from monai_mmseg.study.content import read_study
from monai_mmseg.study.curves import Line, label_curves, learning_charts, line_plot, method_styles
from monai_mmseg.study.plots import box_chart, critical_difference_chart, nice_ticks
from monai_mmseg.study.sample import Sample
from monai_mmseg.study.statistics import Ranking
from monai_mmseg.study.worst_cases import best_rival, worst_cases
from tests.study.synthetic_study import add_cell, scores


def numbers(pattern, svg):
    return [float(found) for found in re.findall(pattern, svg)]


def test_boxes_tell_subjects_and_trainings_apart():
    values = {"a": np.array([[0.5, 0.7], [0.7, 0.9]]), "copy": np.array([[0.6, np.nan]])}
    svg = box_chart(Sample("dice", ["s1", "s2"], values, {"a": ["seed 0", "seed 1"], "copy": ["seed 0"]}))
    assert svg.count("<circle") == 3
    assert svg.count('class="training"') == 2  # none of the only one of copy
    for text in ("a, s1: 0.600", "a, s2: 0.800", "a, seed 0: 0.600", "a, seed 1: 0.800", "copy, s1: 0.600"):
        assert text in svg
    with pytest.raises(ValueError, match="at least one method"):
        box_chart(Sample("dice", [], {}, {}))


def test_ranks_lie_in_order_and_groups_reach_their_ends():
    ranking = Ranking({"a": 1.5, "b": 2.0, "c": 2.5}, 0.2, 8, 0.8, [["a", "b"], ["b", "c"]])
    svg = critical_difference_chart(ranking, highlight="b")
    starts = numbers(r'class="group" x1="([\d.]+)"', svg)
    stops = numbers(r'class="group"[^>]*? x2="([\d.]+)"', svg)
    leaders = numbers(r'<polyline class="leader[^"]*" points="([\d.]+),58', svg)
    unit = (720 - 2 * 180) / 2  # pixels a rank
    assert sorted(leaders) == pytest.approx([180 + 0.5 * unit, 180 + unit, 180 + 1.5 * unit], abs=0.1)
    assert stops[0] - starts[0] == pytest.approx(0.8 * unit, abs=0.1)
    assert [stop - start - 8 for start, stop in zip(starts[1:], stops[1:], strict=True)] == pytest.approx(
        [0.5 * unit] * 2, abs=0.2
    )
    assert "more than these methods can be apart" in critical_difference_chart(ranking._replace(critical_difference=3))


def test_ticks():
    assert nice_ticks(0.0, 1.0) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(17, 340) == [0, 50, 100, 150, 200, 250, 300, 350]
    assert nice_ticks(0, 0) == [0, 0.2]


def test_learning_curves_end_at_the_time_of_training(tmp_path):
    add_cell(tmp_path, "a", scores("a", [0.5]), curve=(0.2, 0.4), seconds={"training": 600.0}, steps=50)
    add_cell(tmp_path, "b", scores("b", [0.5]), curve=(0.2, 0.6), seconds={"training": 300.0})
    add_cell(tmp_path, "copy", scores("copy", [0.5]))
    settings = read_study(tmp_path).settings
    (time, first), (steps, second) = learning_charts(settings[0], method_styles(settings, "b"), "b")
    assert (time, steps) == ("Over the time of training", "Over the steps of training")
    ends = [float(found.split()[-1].split(",")[0]) for found in re.findall(r'" points="([^"]+)"><title>', first)]
    starts = [float(found.split()[0].split(",")[0]) for found in re.findall(r'" points="([^"]+)"><title>', first)]
    assert ends[0] - starts[0] == pytest.approx(2 * (ends[1] - starts[1]), abs=0.3)  # epochs 1 to 2 of 10 and 5 minutes
    assert first.count("<title>") == 2
    assert second.count("<title>") == 1  # the steps of b are not known


def test_labels_saved(tmp_path):
    for setting, ours, other in (("mr_4", 0.7, 0.5), ("mr_16", 0.8, 0.65), ("all", 0.1, 0.2)):
        add_cell(tmp_path, "ours", scores("ours", [ours, ours]), setting=setting)
        add_cell(tmp_path, "other", scores("other", [other, other]), setting=setting)
    settings = read_study(tmp_path).settings
    (found,) = label_curves(settings, method_styles(settings, "ours"), "ours")
    assert found.title == "mr"
    assert found.saved == ["ours reaches with 4 what other has with 16 (0.700 against 0.650)."]
    moved = {"mr_4": {"lge": 0.0}, "mr_16": {"lge": 0.0}}  # the number is one of something else
    assert label_curves(settings, method_styles(settings, "ours"), "ours", moved)[0].saved == []
    assert list(map(float, re.findall(r'text-anchor="middle">(\d+)</text>', found.chart))) == [4, 16]


def test_settings_of_one_number_stand_side_by_side(tmp_path):
    for setting, dice in (("mr_4", 0.6), ("mr_04", 0.5), ("mr_2", 0.4)):
        add_cell(tmp_path, "ours", scores("ours", [dice, dice]), setting=setting)
        add_cell(tmp_path, "other", scores("other", [dice - 0.05, dice - 0.05]), setting=setting)
    settings = read_study(tmp_path).settings
    (found,) = label_curves(settings, method_styles(settings, "ours"), "ours")
    assert re.findall(r'text-anchor="middle">(\d)<', found.chart) == ["2", "4", "4"]
    assert found.saved == []  # four labels for four labels


def test_labels_are_saved_by_what_needs_them(tmp_path):
    """Copied contours are the same with every number: they save no label, and have no number to be reached."""
    for setting, ours in (("lge_1", 0.7), ("lge_4", 0.8)):
        for name, value in (("ours", ours), ("copy", 0.6), ("register", 0.65)):
            add_cell(tmp_path, name, scores(name, [value, value]), setting=setting)
    settings = read_study(tmp_path).settings
    (ours,), (fixed,) = (label_curves(settings, method_styles(settings, lead), lead) for lead in ("ours", "register"))
    assert ours.saved == [
        "ours reaches with 1 what copy has with any number (0.700 against 0.600).",
        "ours reaches with 1 what register has with any number (0.700 against 0.650).",
    ]
    assert fixed.saved == []


def test_more_than_eight_methods_are_told_apart(tmp_path):
    for at in range(10):
        add_cell(tmp_path, f"m{at}", scores(f"m{at}", [0.5]))
    styles = method_styles(read_study(tmp_path).settings, "m9")
    assert len(set(styles.values())) == 10
    assert not styles["m9"].dashed
    with pytest.raises(ValueError, match="at least one point"):
        line_plot([Line("a", [], "#000000")], across="", down="")


def test_worst_cases():
    own, rival = np.array([[0.2, 0.8, 0.7, 0.6]]), np.array([[0.1, 0.9, 0.95, np.nan]])
    sample = Sample("dice", ["a", "b", "c", "d"], {"ours": own, "weak": rival * 0.1, "rival": rival}, {})
    assert best_rival(sample, "ours") == "rival"
    found = [(case.subject, case.why) for case in worst_cases(sample, "ours", 1)]
    assert found == [("a", "lowest Dice of ours"), ("c", "most behind rival")]
    assert len(worst_cases(sample, "ours", 3)) == 4
    assert worst_cases(Sample("dice", ["a"], {"ours": own[:, :1]}, {}), "ours")[0].subject == "a"


def test_labels_saved_are_of_each_modality(tmp_path):
    for setting, low in (("mr_1", 0.3), ("mr_16", 0.8)):
        for name in ("ours", "other"):
            found = [*scores(name, [0.9, 0.9], modality="ct"), *scores(name, [low, low], modality="mr")]
            add_cell(tmp_path, name, found, setting=setting)
    settings = read_study(tmp_path).settings
    ct, mr = label_curves(settings, method_styles(settings, "ours"), "ours")
    assert (ct.title, mr.title) == ("Dice on ct, by the number in “mr”", "Dice on mr, by the number in “mr”")
    heights = [re.search(r'points="([\d., -]+)"', one.chart)[1].split() for one in (ct, mr)]
    assert [len({point.split(",")[1] for point in one}) for one in heights] == [1, 2]  # CT is level
    assert not ct.saved
