# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Anatomy of the brain: what is where, and what is different between subjects."""

import numpy as np
import pytest

from monai_mmseg.phantom.anatomy.brain import BrainAnatomy, BrainShape
from monai_mmseg.phantom.anatomy.tumour import Tumour
from monai_mmseg.phantom.brain_tables import BRAIN_TISSUES

NUMBER = {name: number for number, name in enumerate(BRAIN_TISSUES)}


@pytest.fixture(scope="module")
def brains():
    return [BrainAnatomy(BrainShape.draw(np.random.default_rng(seed))) for seed in (0, 1)]


def grid(step=3.0):
    axes = [np.arange(-low, low + 1, step, dtype=np.float32) for low in (78, 96, 78)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


@pytest.fixture(scope="module")
def tissues(brains):
    return [brain.classify(grid(), grid())[0] for brain in brains]


def test_landmarks(brains):
    # patient coordinates, far enough from borders for every subject
    places = {"white": (0, -26, -52), "nucleus": (12, -13, 6), "csf": (0, -40, -38), "outside": (0, 0, 82)}
    points = np.array(list(places.values()), np.float32).T
    for brain in brains:
        rest = points * brain.shape.scale[:, None].astype(np.float32)
        tissue, label = brain.classify(rest, rest)
        assert [BRAIN_TISSUES[t] for t in tissue] == list(places)
        assert not label.any()


def test_shares_of_tissue(tissues):
    for tissue in tissues:
        share = {name: (tissue == NUMBER[name]).sum() / (tissue > 0).sum() for name in BRAIN_TISSUES[1:]}
        assert 0.28 < share["grey"] < 0.6
        assert 0.28 < share["white"] < 0.6
        assert 0.04 < share["csf"] < 0.3
        assert 0.01 < share["nucleus"] < 0.06


def test_cortex_lies_around_white_matter(tissues):
    """Depth grows from grey to white matter: white is rare beside the outside."""
    for tissue in tissues:
        outside = tissue == 0
        beside = np.zeros_like(outside)
        for axis in range(3):
            for shift in (-1, 1):
                beside |= np.roll(outside, shift, axis)
        rim = tissue[beside & ~outside & (grid()[2] > 0)]
        assert (rim == NUMBER["white"]).mean() < 0.05


def test_hemispheres_are_alike_but_not_mirrored(tissues):
    for tissue in tissues:
        left, right = tissue, tissue[::-1]
        inside = (left > 0) & (right > 0)
        assert 2 * inside.sum() / ((left > 0).sum() + (right > 0).sum()) > 0.93
        assert 0.4 < (left == right)[inside].mean() < 0.85


def test_folds_belong_to_the_subject(tissues):
    a, b = tissues
    inside = (a > 0) & (b > 0) & (grid()[2] > 30)
    grey = a == NUMBER["grey"], b == NUMBER["grey"]
    # no closer than chance
    assert abs(np.corrcoef(grey[0][inside], grey[1][inside])[0, 1]) < 0.2


def test_tumour_has_its_parts_in_order():
    for seed in range(5):
        tumour = Tumour.draw(np.random.default_rng(seed))
        tissue, label = BrainAnatomy(BrainShape.draw(np.random.default_rng(9), tumour=tumour)).classify(grid(), grid())
        assert set(np.unique(label)) == {0, 1, 2, 3}
        for value, name in ((1, "necrosis"), (2, "oedema"), (3, "enhancing")):
            np.testing.assert_array_equal(label == value, tissue == NUMBER[name])
        away = np.linalg.norm(grid() - tumour.centre[:, None, None, None], axis=0)
        distance = [away[label == value].mean() for value in (1, 3, 2)]
        assert distance == sorted(distance)
        side = np.sign(grid()[0][label > 0])
        assert (side == tumour.side).mean() > 0.95


def test_pressure_moves_brain_away_from_the_tumour():
    tumour = Tumour.draw(np.random.default_rng(0))
    points = tumour.centre[:, None] + tumour.radius * np.array([[0.0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 9]])
    rest = tumour.pull_back(points.astype(np.float32))
    offset = np.linalg.norm(rest - tumour.centre[:, None], axis=0) / tumour.radius
    assert offset[0] == pytest.approx(0, abs=1e-5)
    assert offset[1] < 0.95
    assert offset[2] < 2
    assert offset[3] == pytest.approx(9, abs=1e-3)
