# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The chest: where its parts are, and what moves."""

import numpy as np
import pytest

from monai_mmseg.phantom.anatomy.thorax import Thorax
from monai_mmseg.phantom.tissues import HEART_TISSUES


@pytest.fixture
def chest():
    return Thorax.draw(np.random.default_rng(0))


def names(chest, points, moved=None):
    fixed = np.array(points, np.float32).T
    moved = fixed if moved is None else np.array(moved, np.float32).T
    return [HEART_TISSUES[k] for k in chest.classify(moved, fixed)]


def test_parts(chest):
    inside = chest.depth - chest.fat / 2
    assert names(chest, [(0, 300, 0)]) == ["air"]
    assert names(chest, [(0, inside, 0)]) == ["fat"]
    assert names(chest, [(60, 0, -90)]) == ["liver"]
    assert names(chest, [(-24, -50, 20)]) == ["blood"]  # descending aorta
    assert names(chest, [(0, -chest.depth + 48, 10)]) == ["bone"]  # spine
    lung = names(chest, [(x, 0, z) for x in (90, 100, -100) for z in range(20, 60)])
    assert lung.count("lung") > 0.8 * len(lung)


def test_all_tissues_but_the_heart_occur(chest):
    axes = [np.arange(-190, 190, 6.0)] * 3
    points = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    found = {HEART_TISSUES[k] for k in np.unique(chest.classify(points, points))}
    assert found == {"air", "lung", "fat", "muscle", "liver", "blood", "bone", "stomach"}


def test_wall_stays_while_organs_move(chest):
    wall, liver = (0, chest.depth - chest.fat / 2, 0), (60, 0, -45)
    lower = [(x, y, z - 30) for x, y, z in (wall, liver)]
    assert names(chest, [wall, liver], lower)[0] == names(chest, [wall])[0]
    assert names(chest, [(60, 0, 10)], [(60, 0, -90)]) == ["liver"]
