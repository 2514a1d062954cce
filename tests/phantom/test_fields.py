# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Smooth fields: values, statistics and the two ways of evaluating them."""

import numpy as np
import pytest

from monai_mmseg.phantom.fields import SmoothField


def test_plane_and_points_agree():
    field = SmoothField(np.random.default_rng(0), components=3, sd=2.0, wavelength=60.0)
    origin, step_i, step_j = np.array([1.0, -4.0, 9.0]), np.array([1.5, 0.2, 0.0]), np.array([0.1, -1.0, 1.2])
    i, j = np.meshgrid(np.arange(7), np.arange(5), indexing="ij")
    points = origin[:, None, None] + step_i[:, None, None] * i + step_j[:, None, None] * j
    np.testing.assert_allclose(field.on_plane(origin, step_i, step_j, (7, 5)), field.at(points), atol=1e-5)


def test_one_wave_is_a_cosine():
    field = SmoothField(np.random.default_rng(3), components=1, sd=1.0, wavelength=50.0, waves=1)
    x = np.random.default_rng(0).normal(size=(3, 10)) * 40
    size, phase = np.abs(field.amplitudes[0, 0]), np.angle(field.amplitudes[0, 0])
    np.testing.assert_allclose(field.at(x)[0], size * np.cos(field.vectors[0] @ x + phase), atol=1e-12)
    assert 40 <= 2 * np.pi / np.linalg.norm(field.vectors[0]) <= 80


def test_standard_deviation():
    points = np.random.default_rng(1).uniform(-500, 500, size=(3, 200))
    values = [SmoothField(np.random.default_rng(s), sd=3.0, wavelength=40.0).at(points) for s in range(200)]
    assert np.std(values) == pytest.approx(3.0, rel=0.1)
    assert np.mean(values) == pytest.approx(0.0, abs=0.2)


def test_zero_sd_is_no_field():
    assert not SmoothField(np.random.default_rng(0), sd=0.0).at(np.ones((3, 4))).any()


@pytest.mark.parametrize("wrong", [{"wavelength": 0.0}, {"waves": 0}, {"sd": -1.0}])
def test_invalid_arguments(wrong):
    with pytest.raises(ValueError, match="wavelength and waves must be positive and sd not negative, got"):
        SmoothField(np.random.default_rng(0), **wrong)
