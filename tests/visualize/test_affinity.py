# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Figures of affinities and class-specific features: what the panels hold, files that are not blank."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from monai_mmseg.visualize import affinity_figure, class_feature_figure, save_figure

CLASSES = ["background", "LV_$x^$", "RV"]
GENERATOR = np.random.default_rng(0)


def saved(figure, tmp_path):
    """Standard deviation of the grey values of the saved picture."""
    path = save_figure(figure, tmp_path / "a.png", dpi=60)
    return mpl.image.imread(path)[..., :3].std()


def images(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_matrices_and_differences(tmp_path, count):
    values = GENERATOR.uniform(-1, 1, (count, 3, 5, 4))
    figure = affinity_figure(values, ["lge", "bssfp", "t2"][:count], CLASSES, title="a_$b^$")
    shown = np.stack(images(figure)).reshape(2 * count - 1, 3, 5, 4)
    # one order of channels for all panels
    for m in range(count):
        for c in range(3):
            np.testing.assert_allclose(np.sort(shown[m, c], axis=None), np.sort(values[m, c], axis=None))
    np.testing.assert_allclose(shown[count:], shown[1:count] - shown[:1])
    assert [axes.get_title() for axes in figure.axes[:3]] == ["background", r"LV_\$x^\$", "RV"]
    assert saved(figure, tmp_path) > 0.05


def test_an_absent_class_stays_empty(tmp_path):
    values = GENERATOR.uniform(-1, 1, (2, 3, 4, 4))
    values[1, 2] = np.nan
    figure = affinity_figure(values, ["lge", "bssfp"], CLASSES)
    assert np.isnan(images(figure)[5].astype(float)).all() or np.ma.is_masked(figure.axes[5].images[0].get_array())
    assert saved(figure, tmp_path) > 0.05


def scene():
    label = np.zeros((16, 16), int)
    label[4:8, 4:8], label[8:14, 8:14] = 1, 2
    features = GENERATOR.normal(0, 0.1, (6, 8, 8))
    features[3, 2:4, 2:4] += 3  # class 1
    features[5, 4:7, 4:7] -= 3  # class 2, dark
    return GENERATOR.random((16, 16)), features, label


def test_channels_that_tell_the_classes(tmp_path):
    both = {m: scene() for m in ("lge", "bssfp")}
    parts = ({m: value[k] for m, value in both.items()} for k in range(3))
    figure = class_feature_figure(*parts, {0: "background", 1: "LV", 2: "RV"})
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles[2:] == ["LV\nchannel 3", "RV\nchannel 5, inverted"]
    np.testing.assert_allclose(images(figure)[2], both["lge"][1][3])
    np.testing.assert_allclose(images(figure)[7], -both["bssfp"][1][5])
    assert saved(figure, tmp_path) > 0.05


def test_messages():
    with pytest.raises(ValueError, match=r"matrices must have shape \(2, 3, P, Q\)"):
        affinity_figure(np.zeros((2, 2, 4, 4)), ["a", "b"], CLASSES)
    image, features, label = scene()
    with pytest.raises(ValueError, match="must have the same modalities"):
        class_feature_figure({"a": image}, {"b": features}, {"a": label}, {0: "x"})
    with pytest.raises(ValueError, match="with one P"):
        class_feature_figure({"a": image}, {"a": features[0]}, {"a": label}, {0: "x"})
