# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Motion: positions worked out by hand, and the knob that scales it."""

import numpy as np
import pytest

from monai_mmseg.phantom.fields import SmoothField
from monai_mmseg.phantom.grid import Plane, rotation_matrix
from monai_mmseg.phantom.motion import Motion, MotionModel

MODEL = MotionModel(
    drift=(0.0, 2.0, -6.0),
    twist=-3.0,
    phase=0.1,
    shift=(2.0, 4.0),
    through=2.0,
    rotation_sd=5.0,
    phase_sd=0.05,
    field_sd=1.5,
    jitter_sd=1.0,
    jitter_through_sd=0.5,
)
NO_FIELD = SmoothField(np.random.default_rng(0), components=3, sd=0.0)
PLANE = Plane(np.array([10.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), (2, 3))


def draw(seed, amount=1.0, axes=None, model=MODEL):
    axes = np.eye(3) if axes is None else axes
    return model.draw(np.random.default_rng(seed), centre=np.zeros(3), axes=axes, slices=4, amount=amount)


def test_pull_back_undoes_shift_and_jitter():
    jitter = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    motion = Motion(np.array([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3), 0.0, NO_FIELD, jitter)
    points = motion.pull_back(PLANE, 1)
    assert points.shape == (3, 2, 3)
    np.testing.assert_allclose(points[:, 0, 0], [9, -2, -3.5], atol=1e-6)
    np.testing.assert_allclose(points[:, 1, 2], [10, 0, -3.5], atol=1e-6)


def test_pull_back_turns_about_the_centre():
    motion = Motion(np.zeros(3), np.array([0, 0, 90.0]), np.array([10.0, 1.0, 0.0]), 0.0, NO_FIELD, np.zeros((1, 3)))
    points = motion.pull_back(PLANE, 0)
    # what is now 1 below the centre was 1 to the left of it before a quarter turn to the left
    np.testing.assert_allclose(points[:, 0, 0], [9, 1, 0], atol=1e-6)
    np.testing.assert_allclose(points[:, 0, 1], [10, 1, 0], atol=1e-6)


def test_pull_back_subtracts_the_field():
    field = SmoothField(np.random.default_rng(5), components=3, sd=2.0)
    motion = Motion(np.zeros(3), np.zeros(3), np.zeros(3), 0.0, field, np.zeros((1, 3)))
    expected = PLANE.points() - field.at(PLANE.points())
    np.testing.assert_allclose(motion.pull_back(PLANE, 0), expected, atol=1e-4)


def test_no_motion():
    motion = draw(0, amount=0.0)
    assert motion.phase == 0
    np.testing.assert_array_equal(motion.pull_back(PLANE, 2), PLANE.points())


def test_amount_scales_everything():
    one, half = draw(7), draw(7, amount=0.5)
    np.testing.assert_allclose(half.translation, one.translation / 2)
    np.testing.assert_allclose(half.rotation, one.rotation / 2)
    np.testing.assert_allclose(half.jitter, one.jitter / 2)
    np.testing.assert_allclose(half.field.amplitudes, one.field.amplitudes / 2)
    assert half.phase == pytest.approx(one.phase / 2)


def test_misalignment_does_not_average_out():
    motions = [draw(seed) for seed in range(300)]
    np.testing.assert_allclose(np.mean([m.translation for m in motions], axis=0), (0, 2, -6), atol=0.5)
    assert np.mean([m.rotation[2] for m in motions]) == pytest.approx(-3, abs=1)
    assert np.mean([m.phase for m in motions]) == pytest.approx(0.1, abs=0.02)


def test_random_shift_lies_in_the_slice():
    axes = rotation_matrix([20, -35, 50])
    model = MotionModel(shift=(2.0, 4.0))
    shifts = [axes.T @ draw(seed, axes=axes, model=model).translation for seed in range(50)]
    size = np.linalg.norm(shifts, axis=1)
    np.testing.assert_allclose(np.array(shifts)[:, 2], 0, atol=1e-12)
    assert size.min() >= 2
    assert size.max() <= 4


def test_summary_is_plain():
    summary = draw(1).summary()
    assert list(summary) == ["translation_mm", "rotation_deg", "field_at_centre_mm", "slice_jitter_mm", "phase"]
    assert np.shape(summary["slice_jitter_mm"]) == (4, 3)
    assert all(isinstance(v, list | float) for v in summary.values())
