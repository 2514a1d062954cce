# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.transforms import RandAppearanced


def image_of(dims=2, channels=2):
    axes = torch.meshgrid(*[torch.linspace(0, 3, 12)] * dims, indexing="ij")
    return torch.stack([torch.sin(sum(axes) * (1 + n)) * (n + 2) + n for n in range(channels)])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("keep", ["moments", "range"])
def test_each_part_keeps_what_is_asked(dims, keep):
    image, axes = image_of(dims), list(range(1, dims + 1))
    change = RandAppearanced("image", parts=2, keep=keep, spatial_dims=dims).set_random_state(0)
    before = (image.mean(axes), image.std(axes)) if keep == "moments" else (image.amin(axes), image.amax(axes))
    moved = 0.0
    for _ in range(8):
        out = change({"image": image})["image"]
        after = (out.mean(axes), out.std(axes)) if keep == "moments" else (out.amin(axes), out.amax(axes))
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
        moved += (out - image).abs().mean().item()
    assert moved > 0.5
    torch.testing.assert_close(image, image_of(dims))  # the caller's tensor


def test_parts_are_changed_each_by_itself():
    image = image_of(channels=1).expand(2, -1, -1)
    whole, parts = (RandAppearanced("image", parts=n).set_random_state(4)({"image": image})["image"] for n in (1, 2))
    assert (parts[0] - parts[1]).abs().max() > 0.1
    assert (whole[0] - whole[1]).abs().mean() < (parts[0] - parts[1]).abs().mean()


def test_same_seed_same_images_and_absent_ones_stay():
    image = image_of()
    image[0] = torch.nan
    first, second = (RandAppearanced("image", parts=2).set_random_state(2)({"image": image})["image"] for _ in "ab")
    torch.testing.assert_close(first, second, equal_nan=True)
    assert first[0].isnan().all()
    assert first[1].isfinite().all()
    constant = torch.full((1, 6, 6), 3.0)
    assert torch.equal(RandAppearanced("image")({"image": constant})["image"], constant)


def test_refuses():
    with pytest.raises(ValueError, match="keep must be 'moments' or 'range', got 'mean'"):
        RandAppearanced("image", keep="mean")
    with pytest.raises(ValueError, match="image must have a multiple of 3 channels, got 2"):
        RandAppearanced("image", parts=3)({"image": image_of()})
