# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The trunk: what is in front, behind, above and on which side."""

import numpy as np
import pytest

from monai_mmseg.phantom.anatomy.torso import BODY_TISSUES, TISSUE, Torso


@pytest.fixture(params=range(3))
def torso(request):
    return Torso.draw(np.random.default_rng(request.param))


def at(torso, points):
    points = np.asarray(points, np.float32).T
    tissue, cavity = torso.classify(points, points)
    return [BODY_TISSUES[k] for k in tissue], cavity


def test_places(torso):
    names, cavity = at(
        torso,
        [
            (0, 0, 300 + torso.depth),  # no end above: the trunk goes on
            (250, 0, 50),
            (0, torso.depth + 2, 50),
            (0, torso.depth - torso.fat / 2, -150),
            (75, 0, 60),
            (-75, 0, 60),
            (60, 20, torso.dome - 30),
            (0, torso.spine - 25, 50),
        ],
    )
    assert names[1:3] == ["air", "air"]
    assert names[3] == "fat"
    assert {names[4], names[5]} <= {"lung", "venous"}
    assert names[6] == "fat"  # below the diaphragm: room for organs
    assert names[7] == "fluid"  # the spinal canal
    assert cavity.tolist()[1:] == [False, False, False, True, True, True, False]


def test_spine_is_bone_and_disc(torso):
    z = np.linspace(-200, 100, 600)
    names, cavity = at(torso, np.stack([0 * z, 0 * z + torso.spine, z], 1))
    assert not cavity.any()
    assert {"bone", "marrow", "muscle"} == set(names)
    assert 0.1 < names.count("muscle") / len(names) < 0.3


def test_right_half_of_the_diaphragm_is_higher(torso):
    right, left = torso.diaphragm(np.array([[60, -60], [10, 10], [0, 0]], np.float32))
    assert 3 < right - left < 25


def test_depth_of_the_skin(torso):
    points = np.array([[0, torso.width, 0], [0, 0, torso.depth + 10], [0, 0, 0]], np.float32)
    depth = torso.depth_below_skin(points)
    assert depth[0] == pytest.approx(torso.depth)
    assert depth[1] == pytest.approx(0, abs=1e-3)
    assert depth[2] < 0


def test_tissue_numbers():
    assert [BODY_TISSUES[number] for number in TISSUE.values()] == list(TISSUE)
    assert len(set(BODY_TISSUES)) == len(BODY_TISSUES)
