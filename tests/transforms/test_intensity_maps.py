# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import torch

from monai_mmseg.transforms import intensity_maps
from monai_mmseg.transforms.intensity_maps import random_intensity_maps


def test_curves_are_monotone_and_reach_both_ends(monkeypatch):
    monkeypatch.setattr(intensity_maps, "NOISY", 0.0)
    torch.manual_seed(0)
    line = torch.linspace(-1, 1, 50)
    found = random_intensity_maps(line.expand(40, 2, 50))
    torch.testing.assert_close(found[:, 0], found[:, 1])  # the channels of an image share one
    steps, sign = found[:, 0].diff(dim=1), found[:, 0, -1:].sign()
    assert (steps * sign >= 0).all()
    torch.testing.assert_close(found[:, 0, [0, -1]], torch.cat([-sign, sign], 1))
    assert 5 < (sign < 0).sum() < 35
    assert len(found[:, 0, 25].unique()) == 40


def test_half_of_the_images_get_noise_and_none_leaves_the_range():
    torch.manual_seed(0)
    found = random_intensity_maps(torch.zeros(200, 1, 8, 8))
    spread = found.flatten(1).std(1)
    assert 60 < (spread > 0).sum() < 140
    assert found.abs().max() <= 1


def test_shape_and_type_stay_and_gradients_end():
    image = torch.full((2, 1, 3, 4, 5), 7.0, dtype=torch.float64, requires_grad=True)
    found = random_intensity_maps(image)
    assert (found.shape, found.dtype, found.requires_grad) == (image.shape, image.dtype, False)
    assert random_intensity_maps(torch.zeros(0, 1, 4, 4)).shape == (0, 1, 4, 4)


def test_absent_stays_absent():
    images = torch.rand(2, 2, 4)
    images[0, 1] = torch.nan
    changed = random_intensity_maps(images)
    assert torch.equal(changed.isnan(), images.isnan())
