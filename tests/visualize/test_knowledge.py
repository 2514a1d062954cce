# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Figures of the distillation: the panels they promise, what the panels hold, files that are not blank."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from monai_mmseg.visualize import distillation_curve_figure, knowledge_figure, save_figure, weight_boxes_figure

CLASSES = ["background", "liver_$x^$", "spleen"]
GENERATOR = np.random.default_rng(0)


def saved(figure, tmp_path):
    """Standard deviation of the grey values of the saved picture."""
    path = save_figure(figure, tmp_path / "a.png", dpi=60)
    return mpl.image.imread(path)[..., :3].std()


def images(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_matrices_and_differences(tmp_path, count):
    values = GENERATOR.random((9, count, 3, 3))
    figure = knowledge_figure(range(1, 10), values, ["ct", "mr", "pet"][:count], CLASSES, columns=3, title="a_$b^$")
    shown = images(figure)
    assert len(shown) == 3 * (
        2 * count - 1
    )  # epochs 1, 5 and 9; a row a modality, one for each further minus the first
    for row in range(count):
        np.testing.assert_array_equal(np.stack(shown[3 * row : 3 * row + 3]), values[[0, 4, 8], row])
    for row in range(1, count):
        found = np.stack(shown[3 * (count + row - 1) :][:3])
        np.testing.assert_allclose(found, values[[0, 4, 8], row] - values[[0, 4, 8], 0])
    assert [axes.get_title() for axes in figure.axes[:3]] == ["epoch 1", "epoch 5", "epoch 9"]
    assert saved(figure, tmp_path) > 0.05


def test_matrices_of_one_epoch_with_what_is_not_there(tmp_path):
    values = np.full((1, 2, 3, 3), np.nan)
    assert saved(knowledge_figure([4], values, ["ct", "mr"], CLASSES), tmp_path) > 0.01
    values[0, 0] = np.eye(3)
    shown = images(knowledge_figure([4], values, ["ct", "mr"], CLASSES))
    np.testing.assert_array_equal(shown[0], np.eye(3))
    assert np.ma.getmaskarray(shown[2]).all() or np.isnan(shown[2]).all()


def test_differences_share_one_scale():
    values = np.zeros((2, 2, 3, 3))
    values[1, 1, 0, 0] = 0.3
    figure = knowledge_figure([1, 2], values, ["ct", "mr"], CLASSES)
    limits = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    assert limits == [(0, 1)] * 4 + [(-0.3, 0.3)] * 2


def test_curves(tmp_path):
    runs = {"with": ([1, 2, 3], [0.3, 0.2, 0.1]), "without_$x^$": ([2, 4], [0.3, float("nan")])}
    figure = distillation_curve_figure(runs, title="a")
    (axes,) = figure.axes
    assert [line.get_ydata().tolist()[0] for line in axes.lines] == [0.3, 0.3]
    assert axes.get_ylim()[0] == 0
    assert saved(figure, tmp_path) > 0.01


def test_boxes(tmp_path):
    scores = {"ct": {0.5: [0.8, 0.9], 0.1: [0.7, 0.6, 0.5]}, "mr": {0.1: [0.4]}}
    figure = weight_boxes_figure(scores, {"ct": 0.75}, title="a")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ct", "mr"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0.1", "0.5"]
    medians = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linewidth() == 1.6]
    assert medians == pytest.approx([0.6, 0.85])
    baseline = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert baseline == [0.75]
    assert not [line for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert saved(figure, tmp_path) > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: knowledge_figure([1], np.zeros((1, 2, 3, 2)), ["ct", "mr"], CLASSES),
            "matrices must have shape (1, 2, 3, 3) for 1 epochs (at least one), 2 modalities and 3 classes, got (1, 2,",
        ),
        (lambda: knowledge_figure([], np.zeros((0, 2, 3, 3)), ["ct", "mr"], CLASSES), "for 0 epochs (at least one)"),
        (lambda: distillation_curve_figure({}), "runs must hold at least one training, got none."),
        (
            lambda: distillation_curve_figure({"a": ([1, 2], [0.1])}),
            "runs must have one value an epoch, got others for ['a'].",
        ),
        (
            lambda: weight_boxes_figure({"ct": {}}),
            "scores must hold settings for at least one and every modality, got ['ct'].",
        ),
        (
            lambda: weight_boxes_figure({"ct": {0.1: []}}),
            "scores must hold at least one score for each setting, got none for [('ct', 0.1)].",
        ),
        (
            lambda: weight_boxes_figure({"ct": {0.1: [1]}}, {"mr": 0.1}),
            "baselines must be of the modalities ['ct'], got ['mr'] too.",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
