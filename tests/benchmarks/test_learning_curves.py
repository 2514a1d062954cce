# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Epochs of a study's cell as the table of learning curves has them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import learning_curves
from benchmarks.learning_curves import change, main, read_cell, read_table


@pytest.fixture
def cell(tmp_path):
    folder = tmp_path / "fold0_seed2"
    folder.mkdir()
    (folder / "cell.json").write_text(json.dumps({"seed": 2, "steps": 60}))
    scores = [{"values": {"dice": 0.5}}, {"values": {"dice": 0.75}}, {"values": {"volume": 3.0}}]
    (folder / "scores.json").write_text(json.dumps({"scores": scores}))
    head = "epoch,generator/supervised,generator/kl,mask/total,validation/val_mean_dice,validation/dice/lge\n"
    (folder / "terms.csv").write_text(f"{head}1,2.0,9,9,,\n2,1.5,9,9,0.25,0.3\n3,1.0,9,9,0.75,0.8\n")
    return folder


def test_epochs_of_a_cell(cell):
    rows = read_cell(cell, "DAFNet")
    assert [(row.recipe, row.seed, row.step, row.loss) for row in rows] == [
        ("DAFNet", 2, 20, 2.0),
        ("DAFNet", 2, 40, 1.5),
        ("DAFNet", 2, 60, 1.0),
    ]
    np.testing.assert_array_equal([row.validation for row in rows], [np.nan, 0.25, 0.75])
    np.testing.assert_array_equal([row.test for row in rows], [np.nan, np.nan, 0.625])


def test_what_was_not_measured_is_no_number(cell):
    (cell / "terms.csv").write_text("epoch,generator/self_reconstruction\n1,2.0\n2,1.0\n")
    rows = read_cell(cell, "encoders")
    assert np.isnan([(row.loss, row.validation) for row in rows]).all()
    assert np.isnan(change(rows))


def test_a_recipe_takes_the_place_of_its_earlier_trainings(cell, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(learning_curves, "TABLE", tmp_path / "curves.csv")
    monkeypatch.setattr(learning_curves, "PICTURE", tmp_path / "curves.svg")
    for recipe in ("DAFNet", "csa", "DAFNet"):
        main([str(cell), "--as", recipe])
    assert [row.recipe for row in read_table()] == ["csa"] * 3 + ["DAFNet"] * 3
    assert "DAFNet: 60 steps, test 0.625 of 1 trainings" in capsys.readouterr().out
    assert (tmp_path / "curves.svg").stat().st_size > 1000
    with pytest.raises(SystemExit):
        main([str(cell)])


def test_a_training_that_has_not_ended_is_said(cell, capsys):
    (cell / "scores.json").unlink()
    with pytest.raises(SystemExit):
        main([str(cell), "--as", "a"])
    assert "scores.json is not there" in capsys.readouterr().err
