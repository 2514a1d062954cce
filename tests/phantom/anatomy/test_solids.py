# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Ellipsoids and tubes against their volumes, and painting against a plain loop over all points."""

import numpy as np
import pytest

from monai_mmseg.phantom.anatomy.solids import Canvas, Ellipsoid, Tube
from monai_mmseg.phantom.grid import rotation_matrix

AXIS = np.arange(-30, 30, 0.75, dtype=np.float32) + 0.2
POINTS = np.stack(np.meshgrid(AXIS, AXIS, AXIS, indexing="ij")).reshape(3, -1)
SOLIDS = [
    Ellipsoid((1, 2, 3), (8, 12, 17)),
    Ellipsoid((1, 2, 3), (8, 12, 17), rotation_matrix([20, 40, -60])),
    Tube([(-15, 0, 0), (15, 0, 0)], [6, 6]),
]
VOLUMES = [4 / 3 * np.pi * 8 * 12 * 17] * 2 + [np.pi * 6**2 * 30 + 4 / 3 * np.pi * 6**3]  # a tube ends in half spheres


@pytest.mark.parametrize(("solid", "volume"), list(zip(SOLIDS, VOLUMES, strict=True)))
def test_volume_and_box(solid, volume):
    inside = solid.level(POINTS) < 1
    assert inside.sum() * 0.75**3 == pytest.approx(volume, rel=0.01)
    low, high = solid.box
    np.testing.assert_allclose(POINTS[:, inside].min(1), low, atol=0.9)
    np.testing.assert_allclose(POINTS[:, inside].max(1), high, atol=0.9)


def test_tube_gets_wider_along_its_path():
    tube = Tube([(0, 0, 0), (0, 0, 10), (10, 0, 10)], [2, 4, 4])
    points = np.array([[1.0, 0, 0], [3, 0, 5], [10, 2, 10], [0, 0, -4]]).T
    np.testing.assert_allclose(tube.level(points), [0.5, 1.0, 0.5, 2.0])


@pytest.mark.parametrize("limit", [0.7, 1.0, 1.3])
def test_canvas_finds_every_point(limit):
    canvas = Canvas(POINTS, np.zeros(POINTS.shape[1], np.uint8))
    for solid in SOLIDS:
        hits = canvas.inside(solid, limit)
        np.testing.assert_array_equal(hits.index, np.flatnonzero(solid.level(POINTS) < limit))
        np.testing.assert_array_equal(hits.points, POINTS[:, hits.index])
        assert hits.level.max() < limit


def test_canvas_away_from_the_slab():
    canvas = Canvas(POINTS, np.zeros(POINTS.shape[1], np.uint8))
    assert canvas.inside(Ellipsoid((0, 0, 80), (9, 9, 9))).index.size == 0


def test_painting_covers_what_was_there():
    canvas = Canvas(np.zeros((3, 4), np.float32), np.array([1, 1, 1, 1], np.uint8))
    canvas.paint(np.array([0, 1, 2]), np.uint8(5), 2)
    canvas.paint(np.array([1, 2, 3]), np.array([6, 7, 8], np.uint8), where=np.array([True, False, True]))
    assert canvas.tissue.tolist() == [5, 6, 5, 8]
    assert canvas.label.tolist() == [2, 0, 2, 0]
