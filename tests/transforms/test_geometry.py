# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from monai_mmseg.transforms import find_slice_axis, slice_orientation, slice_pitch, tilt_between
from tests.synthetic_volumes import rotation

AFFINE = np.diag([1.4, 1.4, 8.0, 1.0])


def test_the_coarse_axis_is_the_slice_axis_at_any_angle():
    for angle in range(0, 180, 5):
        affine = np.eye(4)
        affine[:3, :3] = rotation(angle, 45, 45) @ np.diag([8.0, 1.4, 1.5])
        assert find_slice_axis(affine, (12, 200, 200)) == 0


@pytest.mark.parametrize(("name", "expected"), [("sagittal", 0), ("coronal", 1), ("axial", 2), (1, 1), ("auto", 2)])
def test_axis_of_an_isotropic_volume(name, expected):
    assert find_slice_axis(np.eye(4), (60, 60, 60), name) == expected


def test_a_single_slice_is_the_slice_axis_whatever_its_thickness():
    assert find_slice_axis(np.diag([2.0, 1.0, 2.0, 1.0]), (64, 1, 64)) == 1


def test_the_reference_decides_where_spacing_does_not():
    assert find_slice_axis(np.eye(4), (60, 60, 60), reference=[0.1, -0.9, 0.2]) == 1


@pytest.mark.parametrize(
    ("axes", "down", "right"),
    [
        ((0, 1, 2), (0, -1, 0), (-1, 0, 0)),  # axial: posterior below, left on the right
        ((0, 2, 1), (0, 0, -1), (-1, 0, 0)),  # coronal: inferior below, left on the right
        ((1, 2, 0), (0, 0, -1), (0, -1, 0)),  # sagittal: inferior below, posterior on the right
    ],
)
def test_planes_are_shown_as_radiologists_see_them(axes, down, right):
    affine = np.eye(4)
    for array_axis, world_axis in enumerate(axes):
        affine[:3, array_axis] = np.eye(3)[world_axis] * (5 if array_axis == 2 else 1)
    result = slice_orientation(affine, 2)
    directions = {int(to): affine[:3, axis] * sign for axis, (to, sign) in enumerate(result)}
    assert directions[0].tolist() == list(down)
    assert directions[1].tolist() == list(right)


@pytest.mark.parametrize("angles", [(0, 0, 0), (50, 20, 10), (45, 45, 45), (-60, 30, 80)])
def test_orientation_does_not_depend_on_how_the_file_stores_the_axes(angles):
    affine = np.eye(4)
    affine[:3, :3] = rotation(*angles) @ np.diag([1.4, 1.5, 8.0])
    seen = set()
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            stored = affine[:, [*order, 3]].copy()
            stored[:3, :3] *= signs
            result = slice_orientation(stored, order.index(2))
            oriented = np.zeros((3, 3))
            for axis, (to, sign) in enumerate(result):
                oriented[:, to] = stored[:3, axis] * sign
            seen.add(tuple(np.round(oriented, 6).ravel()))
    assert len(seen) == 1
    assert np.linalg.det(np.array(seen.pop()).reshape(3, 3)) < 0  # rows, columns, slices: never mirrored


def test_short_axis_planes_of_two_patients_are_not_turned_against_each_other():
    """Directions of a real short-axis scan (rows horizontal), tilted by up to 20 degrees about any axis."""
    base = np.array([[-0.703, 0.301, 0.65], [-0.711, -0.246, -0.653], [-0.029, -0.921, 0.389]])
    results = set()
    for angles in product((-20, 0, 20), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = rotation(*angles) @ base @ np.diag([1.4, 1.4, 8.0])
        results.add(str(slice_orientation(affine, 2)[:2].tolist()))
    assert len(results) == 1


def test_pitch_and_tilt_of_a_sheared_and_a_rotated_stack():
    sheared = AFFINE.copy()
    sheared[0, 2] = 3.0  # gantry tilt: slices slide, their distance stays
    assert slice_pitch(sheared) == pytest.approx(8.0)
    tilted = AFFINE.copy()
    tilted[:3, :3] = rotation(12, 0, 0) @ AFFINE[:3, :3]
    assert tilt_between(AFFINE, tilted) == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_slice_axis(np.zeros((4, 4)), (2, 2, 2)), "affine must be invertible"),
        (lambda: find_slice_axis(np.eye(3), (2, 2, 2)), r"affine must have shape \(4, 4\), got \(3, 3\)"),
        (lambda: find_slice_axis(np.eye(4), (2, 2, 2), "axail"), "got 'axail'"),
        (lambda: find_slice_axis(np.eye(4), (2, 2, 2), 3), "got 3"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
