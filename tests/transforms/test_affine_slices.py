# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from scipy import ndimage

from monai_mmseg.transforms import RandAffineSlicesd, affine_slices

KEYS = ["image", "label"]


def smooth(height=40, width=30):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.sin(y / 6) + torch.cos(x / 4) + y / 20).to(torch.float32)


@pytest.mark.parametrize("angle", [-20, 7, 90, 180])
def test_rotation_is_that_of_scipy(angle):
    image = smooth()
    expected = ndimage.rotate(image.numpy(), angle, reshape=False, order=1, mode="nearest")
    ours = affine_slices(image[None], angle)[0].numpy()
    middle = (slice(8, -8), slice(8, -8)) if angle == 90 else (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(ours[middle], expected[middle], atol=1e-3)


def test_scale_and_shift_by_hand():
    image = torch.zeros(1, 9, 9)
    image[0, 4, 6] = 1
    assert affine_slices(image, shift=(2 / 4.5, -1 / 4.5))[0].argmax() == 6 * 9 + 5  # 2 rows down, 1 column left
    assert affine_slices(image, scale=2)[0].argmax() == 4 * 9 + 8  # 2 columns from the centre become 4


def test_labels_keep_their_values_and_type():
    label = torch.zeros(2, 20, 24, dtype=torch.int64)
    label[:, 5:15, 5:15] = 3
    out = affine_slices(label, 17, nearest=True)
    assert out.dtype == torch.int64
    assert set(out.unique().tolist()) == {0, 3}


def test_image_and_label_move_alike_and_the_input_stays():
    image = torch.zeros(2, 40, 40)
    image[:, 10:20, 12:30] = 1
    data = {"image": image, "label": image.to(torch.int64)}
    augment = RandAffineSlicesd(KEYS, 20, 0.15, 0.1, mode=["bilinear", "nearest"]).set_random_state(3)
    out = augment(data)
    assert ((out["image"] > 0.5).long() != out["label"]).float().mean() < 0.01
    assert not torch.equal(out["image"], image)
    assert image.sum() == 2 * 180


def test_draws_lie_in_their_ranges_and_follow_the_seed():
    augment = RandAffineSlicesd("image", 20, 0.1, 0.2).set_random_state(0)
    drawn = []
    for _ in range(200):
        augment.randomize()
        drawn.append((augment.degrees, augment.factor, *augment.shift))
    drawn = np.array(drawn)
    assert np.abs(drawn[:, 0]).max() <= 20
    assert np.abs(drawn[:, 0]).max() > 18
    assert 0.9 <= drawn[:, 1].min() < drawn[:, 1].max() <= 1.1
    assert np.abs(drawn[:, 2:]).max() <= 0.2
    again = RandAffineSlicesd("image", 20, 0.1, 0.2).set_random_state(0)
    again.randomize()
    assert again.degrees == drawn[0, 0]


def test_nothing_happens_without_probability_and_keys_may_be_missing():
    image = torch.rand(1, 8, 8)
    assert torch.equal(RandAffineSlicesd("image", 20, prob=0.0)({"image": image})["image"], image)
    assert set(RandAffineSlicesd(KEYS, 20, allow_missing_keys=True)({"image": image})) == {"image"}


def test_it_is_fast():
    augment = RandAffineSlicesd(KEYS, 20, mode=["bilinear", "nearest"])
    data = {"image": torch.rand(2, 64, 64), "label": torch.zeros(2, 64, 64, dtype=torch.int64)}
    augment(data)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        augment(data)
        times.append(time.perf_counter() - start)
    assert min(times) < 5e-3  # 0.3 ms on one core at rest


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"rotate": -1}, "must not be negative"), ({"scale": 1.0}, "must lie in"), ({"mode": "cubic"}, "got .'cubic'.")],
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RandAffineSlicesd("image", **kwargs)


def test_a_loader_joins_what_was_moved_and_what_was_not():
    move = RandAffineSlicesd("image", rotate=20, prob=0.5).set_random_state(0)
    items = [{"image": MetaTensor(torch.rand(1, 8, 8))} for _ in range(8)]
    made = [move(item) for item in items]
    assert 0 < sum(bool((one["image"] == item["image"]).all()) for one, item in zip(made, items, strict=True)) < 8
    assert list_data_collate(made)["image"].shape == (8, 1, 8, 8)


def test_volumes_are_refused():
    with pytest.raises(ValueError, match=r"image must be a slice \(C, H, W\), got shape \(1, 8, 8, 4\)\."):
        RandAffineSlicesd("image", rotate=20)({"image": torch.rand(1, 8, 8, 4)})
