# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Scores as arrays."""

from __future__ import annotations

import numpy as np

from monai_mmseg.evaluation import Score, ScoreTable
from monai_mmseg.study import Cell
from monai_mmseg.study.sample import part_of, take_sample
from tests.study.synthetic_study import scores


def cell(found, *, method="unet", fold=0, seed=0):
    return Cell(method, "all", fold, seed), ScoreTable(found)


def test_classes_are_averaged_within_a_subject():
    found = [*scores("unet", [0.8, 0.6]), *scores("unet", [0.6, 0.2], name="RV")]
    sample = take_sample([cell(found)], "dice")
    assert sample.subjects == ["s00", "s01"]
    np.testing.assert_allclose(sample.values["unet"], [[0.7, 0.4]])
    assert take_sample([cell(found)], "dice", where=lambda s: s.case["class"] == "RV").means("unet") == {
        "s00": 0.6,
        "s01": 0.2,
    }


def test_folds_with_the_same_subjects_are_trainings():
    cells = [cell(scores("unet", [value]), fold=fold, seed=seed) for fold, seed, value in ((0, 0, 0.5), (1, 0, 0.6))]
    sample = take_sample(cells, "dice")
    assert sample.trainings["unet"] == ["seed 0, fold 0", "seed 0, fold 1"]
    np.testing.assert_allclose(sample.values["unet"], [[0.5], [0.6]])


def test_folds_of_a_cross_validation_are_one_training():
    cells = [
        cell(scores("unet", {f"s{fold}": 0.5 + fold / 10 + seed / 100}), fold=fold, seed=seed)
        for fold in (0, 1, 2)
        for seed in (0, 1)
        if (fold, seed) != (2, 1)
    ]
    sample = take_sample(cells, "dice")
    assert sample.trainings["unet"] == ["seed 0", "seed 1"]
    np.testing.assert_allclose(sample.values["unet"], [[0.5, 0.6, 0.7], [0.51, 0.61, np.nan]])


def test_methods_have_their_own_trainings_on_common_subjects():
    cells = [cell(scores("copy", [0.5]), method="copy")]
    cells += [cell(scores("unet", {"s00": 0.6, "s07": 0.7}), seed=seed) for seed in (0, 1)]
    sample = take_sample(cells, "dice")
    assert sample.subjects == ["s00", "s07"]
    np.testing.assert_allclose(sample.values["copy"], [[0.5, np.nan]])
    assert sample.values["unet"].shape == (2, 2)
    assert sample.means("copy") == {"s00": 0.5}


def test_parts_and_infinite_scores():
    found = [*scores("unet", [0.5], modality="ct"), *scores("unet", {"s9": 0.7}, modality="mr")]
    found.append(Score("unet", "s00", {"source": "t1", "target": "t2"}, {"psnr": np.inf}))
    assert [part_of(score) for score in found] == ["ct", "mr", "t1, t2"]
    assert take_sample([cell(found)], "dice", "mr").subjects == ["s9"]
    assert take_sample([cell(found)], "dice").subjects == ["s00", "s9"]
    assert take_sample([cell(found)], "psnr").values == {}
