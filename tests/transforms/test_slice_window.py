# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers.utils import dense_patch_slices

from monai_mmseg.transforms import RandSliceWindow, RandSliceWindowd
from monai_mmseg.transforms.slice_window import foreground_window_starts, tiling_starts

KEYS = ["image", "label"]


def volume(depth, first=None, last=None):
    """Image whose values are the slice numbers, and a label with foreground in some slices."""
    image = torch.arange(float(depth)).expand(1, 4, 4, depth).clone()
    label = torch.zeros(1, 4, 4, depth, dtype=torch.int16)
    if first is not None:
        label[0, 1, 2, first : last + 1] = 3
    return image, label


@pytest.mark.parametrize(("depth", "window"), [(8, 8), (9, 8), (16, 8), (23, 8), (5, 1), (7, 3)])
def test_the_tiling_is_that_of_the_inferer(depth, window):
    windows = dense_patch_slices((4, 4, depth), (4, 4, window), (4, 4, window))
    assert tiling_starts(depth, window) == [one[2].start for one in windows]


def test_windows_of_both_kinds_come_in_equal_shares():
    # depth 40, foreground slices 20 to 23: tiles start at 0, 8, 16, 24, 32; centred windows at 16 to 19
    image, label = volume(40, 20, 23)
    crop = RandSliceWindow(8).set_random_state(1)
    starts = Counter(int(crop(image, label)[0, 0, 0, 0]) for _ in range(4000))
    assert set(starts) == {0, 8, 16, 24, 32, 17, 18, 19}
    for start in (0, 8, 24, 32):  # 1/2 * 1/5 each
        assert starts[start] / 4000 == pytest.approx(0.1, abs=0.02)
    for start in (17, 18, 19):  # 1/2 * 1/4 each
        assert starts[start] / 4000 == pytest.approx(0.125, abs=0.02)
    assert starts[16] / 4000 == pytest.approx(0.225, abs=0.025)


@pytest.mark.parametrize(
    ("depth", "first", "last"),
    [(12, None, None), (12, 0, 1), (12, 11, 11)],
    ids=["no foreground", "too near the start", "too near the end"],
)
def test_any_window_where_none_can_be_centred(depth, first, last):
    image, label = volume(depth, first, last)
    crop = RandSliceWindow(8, tile_prob=0.0).set_random_state(0)
    assert {int(crop(image, label)[0, 0, 0, 0]) for _ in range(200)} == {0, 1, 2, 3, 4}


def test_without_a_label_and_with_tiles_only():
    image, label = volume(20, 10, 10)
    anywhere = RandSliceWindow(8, tile_prob=0.0).set_random_state(0)
    assert {int(anywhere(image)[0, 0, 0, 0]) for _ in range(300)} == set(range(13))
    tiles = RandSliceWindow(8, tile_prob=1.0).set_random_state(0)
    assert {int(tiles(image, label)[0, 0, 0, 0]) for _ in range(100)} == {0, 8, 12}


@pytest.mark.parametrize("window", [1, 2, 3, 7, 8])
def test_centres_lie_in_the_foreground(window):
    _, label = volume(30, 9, 14)
    for start in foreground_window_starts(label, window):
        assert 9 <= start + window // 2 <= 14
    assert len(foreground_window_starts(label, window)) == 6


def test_keys_share_the_window_and_the_input_stays():
    image, label = volume(20, 8, 12)
    crop = RandSliceWindowd(KEYS, 5).set_random_state(2)
    out = crop({"image": image, "label": label, "subject": "a"})
    start = int(out["image"][0, 0, 0, 0])
    assert torch.equal(out["label"], label[..., start : start + 5])
    out["image"].zero_()
    out["label"].zero_()
    assert image[0, 0, 0].tolist() == list(range(20))
    assert label.any()
    again = RandSliceWindowd(KEYS, 5).set_random_state(2)({"image": image, "label": label})
    assert int(again["image"][0, 0, 0, 0]) == start


def test_a_volume_without_label_key():
    image, _ = volume(20)
    assert RandSliceWindowd(KEYS, 5, allow_missing_keys=True)({"image": image})["image"].shape == (1, 4, 4, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandSliceWindow(0), "window must be at least 1 slice, got 0"),
        (lambda: RandSliceWindow(8, 1.5), r"tile_prob must lie in \[0, 1\], got 1.5"),
        (lambda: RandSliceWindow(8)(torch.zeros(1, 2, 2, 7)), "the 7 slices of the volume, got 8; SpatialPadd"),
        (
            lambda: RandSliceWindowd(KEYS, 2)({"image": torch.zeros(1, 2, 2, 4), "label": torch.zeros(1, 2, 2, 5)}),
            "one number of slices, got .*'image': 4, 'label': 5",
        ),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_window_lies_where_it_was_cut():
    affine = torch.tensor([[2.0, 0, 0, 5], [0, 0, 4, -3], [0, 3, 0, 7], [0, 0, 0, 1]], dtype=torch.float64)
    volume = MetaTensor(torch.arange(9.0).expand(1, 4, 4, 9), affine=affine)
    crop = RandSliceWindowd("image", 3, 0.0).set_random_state(1)
    window = crop({"image": volume})["image"]
    first = window[0, 0, 0, 0].item()
    assert first > 0
    assert window.affine[:3, 3].tolist() == [5, -3 + 4 * first, 7]
    torch.testing.assert_close(window.affine[:3, :3], affine[:3, :3])
    torch.testing.assert_close(volume.affine, affine)
