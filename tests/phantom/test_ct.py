# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""CT scans: units, noise and streaks."""

import numpy as np
import pytest

from monai_mmseg.phantom.ct import acquire_ct, streaks

SHAPE = (48, 40, 6)


def rng():
    return np.random.default_rng(0)


def test_units_without_noise():
    signal = np.array([0, 0.9, 1.0, 1.33, 9.0, 0.0], np.float32).reshape(1, 1, 6) * np.ones((4, 4, 1), np.float32)
    image = acquire_ct(rng(), signal, noise_sd=0, texture_sd=0)
    assert image.dtype == np.int16
    assert image[0, 0].tolist() == [-1000, -100, 0, 330, 3071, -1000]


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_noise_has_the_size_asked_for(share):
    image = acquire_ct(rng(), np.ones(SHAPE, np.float32), noise_sd=0.03, texture_sd=0, streak_share=share)
    assert image.std() == pytest.approx(30, rel=0.05)
    assert abs(image.mean()) < 5


def test_air_is_less_noisy():
    image = acquire_ct(rng(), np.full(SHAPE, 0.5, np.float32), noise_sd=0.03, texture_sd=0)
    assert image.std() == pytest.approx(22.5, rel=0.1)  # 30 * (0.5 + 0.5 * 0.5)


def test_streaks_are_lines():
    lines = streaks(rng(), (64, 64, 4))
    assert lines.std() == pytest.approx(1, abs=1e-4)
    white = np.random.default_rng(1).standard_normal(lines.shape)

    def peaks(volume):  # a line has its energy on one ray of the spectrum
        power = np.abs(np.fft.fft2(volume, axes=(0, 1))) ** 2
        return np.sort(power.reshape(-1))[-200:].sum() / power.sum()

    assert peaks(lines) > 3 * peaks(white)
    # every slice has its own
    assert abs(np.corrcoef(lines[..., 0].ravel(), lines[..., 1].ravel())[0, 1]) < 0.1
