# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The shape of the heart: volumes, layers, phase and scar."""

import dataclasses

import numpy as np
import pytest

from monai_mmseg.data.label_sets import HEART_LABELS
from monai_mmseg.phantom.anatomy.heart import HeartAnatomy, HeartShape
from monai_mmseg.phantom.anatomy.thorax import Thorax
from monai_mmseg.phantom.tissues import HEART_TISSUES

NUMBER = {name: i for i, name in enumerate(HEART_TISSUES)}
STEP = 3.0


def subject(seed, **changes):
    rng = np.random.default_rng(seed)
    thorax, shape = Thorax.draw(rng), HeartShape.draw(rng, scar_fraction=1.0)
    return dataclasses.replace(shape, **changes), thorax


def cube(shape, phase=0.0, thorax=None):
    """Tissue and label on a cube of points around the heart, in the heart's axes."""
    line = np.arange(-75, 76, STEP)
    local = np.stack(np.meshgrid(line, line, line, indexing="ij")).astype(np.float32)
    points = np.tensordot(shape.axes, local, axes=(1, 0)) + shape.centre[:, None, None, None]
    thorax = thorax or Thorax.draw(np.random.default_rng(0))
    return HeartAnatomy(shape, thorax, phase).classify(points.astype(np.float32), points.astype(np.float32))


@pytest.mark.parametrize("seed", range(4))
def test_labels_and_tissues_fit(seed):
    shape, thorax = subject(seed)
    tissue, label = cube(shape, thorax=thorax)
    assert set(np.unique(label)) == set(HEART_LABELS)
    assert set(np.unique(tissue[label == 1])) == {NUMBER["blood"], NUMBER["myocardium"]}  # papillary muscles
    assert (tissue[label == 1] == NUMBER["blood"]).mean() > 0.85
    assert set(np.unique(tissue[label == 2])) == {NUMBER["myocardium"], NUMBER["scar"]}  # scar is myocardium
    assert (tissue[label == 3] == NUMBER["blood"]).mean() > 0.9


def test_cavity_volume_of_a_plain_shape():
    shape, _ = subject(0, ripple=np.zeros((2, 3), complex), bend=(0.0, 0.0))
    _, label = cube(shape)
    # area of the cavity at height t is pi r^2 (1 - t^2.4), whose mean over 0..1 is 1 - 1 / 3.4
    expected = np.pi * shape.radius**2 * shape.length * (1 - 1 / 3.4)
    assert (label == 1).sum() * STEP**3 == pytest.approx(expected, rel=0.03)


def test_wall_encloses_the_cavity():
    shape, _ = subject(2)
    _, label = cube(shape)
    below = np.isin(label[:, :, 28:], (1, 2))  # from 2 cm under the base on, no open side
    cavity = label[:, :, 28:] == 1
    for axis in range(2):
        for shift in (-1, 1):
            assert below[np.roll(cavity, shift, axis=axis)].all()


def test_systole_squeezes_but_keeps_the_muscle():
    shape, _ = subject(1, wall_ripple=np.zeros(2, complex))
    diastole, systole = (cube(shape, phase)[1] for phase in (0.0, 1.0))
    ratio = (systole == 1).sum() / (diastole == 1).sum()
    assert ratio == pytest.approx(0.7**2 * 0.88, rel=0.05)
    assert (systole == 2).sum() == pytest.approx((diastole == 2).sum(), rel=0.10)


def test_rv_lies_to_the_right_and_in_front():
    shape, _ = subject(3)
    _, label = cube(shape)
    middle = {k: np.argwhere(label == k).mean(0) for k in (1, 3)}
    right, anterior, _ = shape.axes @ (middle[3] - middle[1])
    assert right > 0
    assert anterior > 0


def test_share_of_scars_and_its_independence():
    with_scar = [HeartShape.draw(np.random.default_rng(s), scar_fraction=0.6) for s in range(300)]
    assert np.mean([s.scar is not None for s in with_scar]) == pytest.approx(0.6, abs=0.1)
    without = HeartShape.draw(np.random.default_rng(0), scar_fraction=0.0)
    always = HeartShape.draw(np.random.default_rng(0), scar_fraction=1.0)
    assert without.scar is None
    assert always.scar is not None
    assert without.length == always.length


def test_axes_are_right_handed():
    for seed in range(5):
        axes = subject(seed)[0].axes
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1)


def test_shapes_differ_smoothly():
    radii = [subject(seed)[0].radius for seed in range(40)]
    assert 21.5 <= min(radii) < max(radii) <= 26.5
    assert np.std(radii) > 1


def test_far_from_the_heart_is_thorax():
    shape, thorax = subject(0)
    points = np.array([[0, 0, 400.0], [0, 300.0, 0]], np.float32).T
    tissue, label = HeartAnatomy(shape, thorax).classify(points, points)
    np.testing.assert_array_equal(tissue, thorax.classify(points, points))
    assert not label.any()
    assert tissue[1] == NUMBER["air"]
