# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Look-up in lattices: exact for linear functions, close for smooth ones."""

import numpy as np
import pytest

from monai_mmseg.phantom.anatomy.lattice import Lattice
from monai_mmseg.phantom.fields import SmoothField

SHAPE, START = (6, 5, 7), (-4.0, 1.0, 2.0)


def test_linear_functions_are_exact():
    points = Lattice.points(SHAPE, START, 2.0)
    x, y, z = points
    lattice = Lattice(np.stack([2 * x - y + 3, 0.5 * z]), START, 2.0)
    asked = np.random.default_rng(0).uniform([-4, 1, 2], [6, 9, 14], size=(50, 3)).T
    expected = [2 * asked[0] - asked[1] + 3, 0.5 * asked[2]]
    np.testing.assert_allclose(lattice.at(asked), expected, atol=1e-4)


def test_outside_is_the_nearest_value():
    lattice = Lattice(np.arange(4.0).reshape(1, 4, 1, 1), (0, 0, 0), 1.0)
    found = lattice.at(np.array([[-5.0, 1.5, 9.0], [7.0, 0.0, 0.0], [0.0, -3.0, 0.0]]))
    np.testing.assert_array_equal(found, [[0, 1.5, 3]])


def test_field():
    field = SmoothField(np.random.default_rng(1), components=2, wavelength=40.0)
    lattice = Lattice.of_field(field, SHAPE, START, 2.0)
    points = Lattice.points(SHAPE, START, 2.0).reshape(3, -1)
    np.testing.assert_allclose(lattice.at(points), field.at(points), atol=1e-4)
    between = points[:, :100] + 1
    assert np.abs(lattice.at(between)[:, :20] - field.at(between)[:, :20]).max() == pytest.approx(0, abs=0.15)
