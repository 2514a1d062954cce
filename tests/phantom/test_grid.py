# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Grids: positions worked out by hand, orientation and supersampling."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from monai_mmseg.phantom.grid import Grid, oblique_grid, rotation_matrix


@pytest.mark.parametrize("vector", [(0, 0, 0), (90, 0, 0), (10, -20, 35), (0, 0, 180)])
def test_rotation_agrees_with_scipy(vector):
    expected = Rotation.from_rotvec(vector, degrees=True).as_matrix()
    np.testing.assert_allclose(rotation_matrix(vector), expected, atol=1e-12)


def test_middle_spacing_and_handedness():
    axes = rotation_matrix([12, 30, -50])
    grid = oblique_grid([5, -7, 11], axes, [1.5, 1.25, 8], [20, 31, 9])
    middle = grid.affine @ [9.5, 15, 4, 1]
    np.testing.assert_allclose(middle[:3], [5, -7, 11], atol=1e-4)
    np.testing.assert_allclose(grid.spacing, (1.5, 1.25, 8), rtol=1e-6)
    np.testing.assert_allclose(grid.axes, axes, atol=1e-6)
    assert np.linalg.det(grid.affine[:3, :3]) > 0
    assert grid.thickness == 8


def test_affine_survives_float32():
    affine = oblique_grid([0.1, 0.2, 0.3], rotation_matrix([1, 2, 3]), [1.1, 1.3, 9], [5, 6, 7]).affine
    np.testing.assert_array_equal(affine.astype(np.float32).astype(float), affine)


@pytest.mark.parametrize("axes", [np.diag([1.0, 1.0, -1.0]), 2 * np.eye(3), np.ones((3, 3))])
def test_axes_must_be_a_rotation(axes):
    with pytest.raises(ValueError, match="axes must be a right-handed rotation matrix, got"):
        oblique_grid([0, 0, 0], axes, [1, 1, 1], [2, 2, 2])


def test_plane_points():
    affine = np.diag([2.0, 3.0, 10.0, 1.0])
    grid = Grid((2, 2, 3), affine, thickness=8.0)
    points = grid.plane(1, offset=0.25, subdivide=(2, 1)).points()
    # voxels at x = 0 and 2 are split at -0.5, 0.5, 1.5, 2.5; slice 1 lies at z = 10, a quarter of 8 mm further 12
    np.testing.assert_allclose(points[0], [[-0.5, -0.5], [0.5, 0.5], [1.5, 1.5], [2.5, 2.5]])
    np.testing.assert_allclose(points[1], [[0, 3]] * 4)
    np.testing.assert_allclose(points[2], 12)
