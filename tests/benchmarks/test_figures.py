# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves of the documentation are those of the scores that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import FIGURES, IMAGES, draw, equivalents, main, table
from benchmarks.kept_scores import read_kept
from monai_mmseg.evaluation import Score, ScoreTable
from monai_mmseg.study import Cell, CellResult
from monai_mmseg.study.content import Setting
from tests.study.synthetic_study import scores


@pytest.mark.parametrize("figure", FIGURES, ids=lambda one: one.name)
def test_pictures_are_of_the_scores(figure):
    settings = read_kept(figure.files, figure.modality, figure.methods)
    assert draw(figure, settings) == (IMAGES / f"{figure.name}.svg").read_text(encoding="utf-8")
    assert len(table(settings)) == 2 + len(settings)


def test_a_table_that_is_not_there_is_said():
    with pytest.raises(FileNotFoundError, match="no such table of scores"):
        read_kept(["nowhere/*.csv"], "lge")


def test_a_figure_that_is_not_there_is_said():
    with pytest.raises(SystemExit, match="there is no figure csa_label, but unpaired_labels, csa_labels, "):
        main(["csa_label"])


def test_labels_are_looked_up_on_the_curve_of_the_rival():
    settings = []
    for labels, own, other in ((1, 0.4, 0.5), (4, 0.6, 0.7)):
        cells = [Cell(name, f"mr_{labels}", 0, 0) for name in ("own", "other")]
        tables = [ScoreTable(scores(cell.method, [dice])) for cell, dice in zip(cells, (own, other), strict=True)]
        ended = [CellResult(cell, Path(), "done") for cell in cells]
        settings.append(Setting(f"mr_{labels}", ended, list(zip(cells, tables, strict=True))))
    # half way from 1 to 4 in doublings is 2; above the curve's end nothing is known but "more"
    assert equivalents(settings, "own") == ["mr_1 is worth of own: other 2.0", "mr_4 is worth of own: other 4.0+"]


def test_means_are_of_subjects_where_trainings_scored_other_ones():
    """As in the picture: a subject that two trainings scored counts as one that a single training scored."""
    cells = [Cell("own", "mr_1", 0, seed) for seed in range(2)]
    given = [{"a": 0.5, "b": 0.9}, {"a": 0.5}]
    tables = [
        ScoreTable(
            Score("own", name, {"modality": "mr", "class": "LV"}, {"dice": dice, "surface_distance": 10 * dice})
            for name, dice in one.items()
        )
        for one in given
    ]
    ended = [CellResult(cell, Path(), "done") for cell in cells]
    setting = Setting("mr_1", ended, list(zip(cells, tables, strict=True)))
    assert table([setting])[-1] == "| mr_1 | 0.700 ± 0.141 (7.0) |"
