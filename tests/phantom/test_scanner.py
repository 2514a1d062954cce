# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Scanner effects: partial volume by hand, and the statistics of shading, texture and noise."""

import numpy as np
import pytest
from scipy import stats

from monai_mmseg.phantom import scanner
from monai_mmseg.phantom.fields import SmoothField
from monai_mmseg.phantom.grid import Grid
from monai_mmseg.phantom.motion import Motion
from monai_mmseg.phantom.scanner import acquire, bias_field, render, rician, smooth_noise

STILL = Motion(
    np.zeros(3),
    np.zeros(3),
    np.zeros(3),
    0.0,
    SmoothField(np.random.default_rng(0), components=3, sd=0),
    np.zeros((9, 3)),
)


class HalfSpace:
    """Tissue and label 1 where a coordinate of the moved point exceeds a value."""

    num_labels = 2

    def __init__(self, axis, value):
        self.axis, self.value = axis, value

    def classify(self, moved, fixed):
        inside = (moved[self.axis] > self.value).astype(np.uint8)
        return inside, inside


def test_in_plane_partial_volume():
    grid = Grid((3, 1, 1), np.diag([4.0, 4.0, 4.0, 1.0]), 4.0)
    # voxels span -2..2, 2..6, 6..10, sampled at a quarter and three quarters: 0.5 splits the first in the middle
    signal, label = render(HalfSpace(0, 0.5), grid, STILL, np.array([0, 10], np.float32), subdivide=(2, 1, 1))
    np.testing.assert_allclose(signal[:, 0, 0], [5, 10, 10])
    np.testing.assert_array_equal(label[1:, 0, 0], 1)


def test_through_plane_partial_volume_and_majority():
    grid = Grid((1, 1, 2), np.diag([1.0, 1.0, 10.0, 1.0]), 6.0)
    # slice 0 is sampled at z = -2, 0, 2 and slice 1 at 8, 10, 12
    signal, label = render(HalfSpace(2, 1.0), grid, STILL, np.array([0, 3], np.float32), subdivide=(1, 1, 3))
    np.testing.assert_allclose(signal[0, 0], [1, 3])
    np.testing.assert_array_equal(label[0, 0], [0, 1])
    _, label = render(HalfSpace(2, -1.0), grid, STILL, np.array([0, 3], np.float32), subdivide=(1, 1, 3))
    np.testing.assert_array_equal(label[0, 0], [1, 1])


def test_motion_moves_what_is_seen():
    grid = Grid((9, 1, 1), np.eye(4), 1.0)
    moved = Motion(np.array([3.0, 0, 0]), *([np.zeros(3)] * 2), 0.0, STILL.field, np.zeros((1, 3)))
    still = render(HalfSpace(0, 2.5), grid, STILL, np.array([0, 1], np.float32)).label[:, 0, 0]
    shifted = render(HalfSpace(0, 2.5), grid, moved, np.array([0, 1], np.float32)).label[:, 0, 0]
    assert list(still) == [0] * 3 + [1] * 6
    assert list(shifted) == [0] * 6 + [1] * 3


class Speckle:
    """Tissues and labels without order, a function of the place."""

    num_labels = 4

    def classify(self, moved, fixed):
        code = np.abs(np.sin(12.9 * moved[0] + 78.2 * moved[1] + 37.7 * moved[2]) * 43758.5)
        tissue = (7 * (code % 1)).astype(np.uint8)
        return tissue, np.maximum(tissue, 3) - 3


@pytest.mark.parametrize("sequences", [(), (3,)])
@pytest.mark.parametrize("subdivide", [(1, 1, 1), (2, 2, 3), (2, 1, 2)])
def test_pieces_give_the_whole_volume_to_the_last_bit(monkeypatch, sequences, subdivide):
    grid = Grid((23, 17, 2), np.diag([1.3, 1.1, 5.0, 1.0]), 4.0)
    table = np.random.default_rng(0).random((*sequences, 7)).astype(np.float32)
    a, b, c = subdivide
    monkeypatch.setattr(scanner, "AT_ONCE", 3 * a * b * c * 17)  # three rows, and two in the last piece
    pieces = render(Speckle(), grid, STILL, table, subdivide=subdivide)
    monkeypatch.undo()
    signal, label = render(Speckle(), grid, STILL, table, subdivide=subdivide)
    np.testing.assert_array_equal(pieces.signal, signal)
    np.testing.assert_array_equal(pieces.label, label)
    for index in range(2):
        planes = [grid.plane(index, (s + 0.5) / c - 0.5, (a, b)) for s in range(c)]
        points = np.stack([plane.points() for plane in planes], axis=1)
        tissue, part = Speckle().classify(points, points)
        blocks = (c, 23, a, 17, b)
        expected = table[..., tissue].reshape(*sequences, *blocks).mean(axis=(-5, -3, -1))
        np.testing.assert_allclose(signal[..., index], expected, rtol=1e-6)
        votes = [(part == value).reshape(blocks).sum(axis=(0, 2, 4)) for value in range(4)]
        np.testing.assert_array_equal(label[..., index], np.argmax(votes, axis=0))


def test_rician_noise_agrees_with_scipy():
    values = rician(np.random.default_rng(0), np.full((200, 200), 0.1, np.float32), 0.05)
    expected = stats.rice(b=0.1 / 0.05, scale=0.05)
    assert values.min() >= 0
    assert values.mean() == pytest.approx(expected.mean(), rel=0.005)
    assert values.std() == pytest.approx(expected.std(), rel=0.01)


@pytest.mark.parametrize("shape", [(30, 24, 5), (31, 25, 1), (16, 16)])
def test_bias_field(shape):
    field = bias_field(np.random.default_rng(2), shape, strength=0.2)
    assert field.shape == shape
    assert np.log(field).mean() == pytest.approx(0, abs=1e-5)
    assert np.log(field).std() == pytest.approx(0.2, rel=1e-3)
    assert np.abs(np.diff(np.log(field), axis=0)).max() < 0.1  # smooth


def test_smooth_noise():
    noise = smooth_noise(np.random.default_rng(0), (65, 64, 3), 1.5)
    assert noise.std() == pytest.approx(1, rel=1e-4)
    near, far = (noise[:-s] * noise[s:] for s in (1, 10))
    # the autocorrelation of white noise after a Gaussian of width s is exp(-d^2 / 4 s^2): 0.89 at 1, 0 at 10
    assert near.mean() == pytest.approx(np.exp(-1 / 9), abs=0.03)
    assert far.mean() == pytest.approx(0, abs=0.1)
    assert (noise[..., 0] * noise[..., 1]).mean() == pytest.approx(0, abs=0.1)  # slices are independent


def test_acquire():
    signal = np.full((20, 20, 2), 0.5, np.float32)
    plain = acquire(
        np.random.default_rng(0), signal, noise_sd=0.0, texture_sd=0.0, bias_strength=0.0, gain=(100.0, 100.0)
    )
    assert plain.dtype == np.int16
    np.testing.assert_array_equal(plain, 50)
    clipped = acquire(np.random.default_rng(0), signal, noise_sd=0.0, texture_sd=0.0, gain=(1e6, 1e6))
    np.testing.assert_array_equal(clipped, 32767)
