# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Windows around organs: where they lie, how often, and that volumes are left alone."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandScaleIntensityd

from monai_mmseg.data import WholeVolumeDataset
from monai_mmseg.transforms import ForegroundPlacesd, RandForegroundWindowd


def numbered(size=(6, 7, 5)):
    """An image whose values say where they are, and a label of two voxels: one inside, one in a corner."""
    image = torch.arange(float(torch.Size(size).numel())).reshape(1, *size)
    label = torch.zeros(1, *size)
    label[0, 3, 3, 2] = 1
    label[0, 0, 6, 4] = 2
    return {"image": image, "label": label}


@pytest.mark.parametrize("window", [(3, 3, 3), (2, 4, 1), (6, 7, 5)])
def test_image_and_label_are_cut_alike_and_stay_inside(window):
    item = ForegroundPlacesd()(numbered())
    cut = RandForegroundWindowd(["image", "label"], window, share=0.5).set_random_state(0)
    for _ in range(50):
        found = cut(item)
        start = torch.unravel_index(found["image"][0, 0, 0, 0].long(), (6, 7, 5))
        part = tuple(slice(int(s), int(s) + w) for s, w in zip(start, window, strict=True))
        torch.testing.assert_close(found["image"][0], item["image"][0][part])
        torch.testing.assert_close(found["label"][0], item["label"][0][part])
        assert set(found) == {"image", "label"}


def test_shares():
    """Each voxel of the foreground is as likely; the rest lies anywhere, each place as likely."""
    item = ForegroundPlacesd()(numbered())
    cut = RandForegroundWindowd(["image", "label"], (1, 1, 1), share=0.4).set_random_state(0)
    labels = torch.stack([cut(item)["label"].flatten()[0] for _ in range(4000)])
    anywhere = 0.6 / (6 * 7 * 5)
    for value in (1, 2):
        assert abs((labels == value).float().mean() - (0.2 + anywhere)) < 0.02
    places = torch.stack([cut(numbered() | {"foreground": torch.zeros(0)})["image"].flatten()[0] for _ in range(4000)])
    assert places.unique().numel() == 6 * 7 * 5
    assert abs(places.mean() - (6 * 7 * 5 - 1) / 2) < 4


def test_the_volume_in_memory_is_left_alone():
    transform = Compose(
        [
            ForegroundPlacesd(),
            RandForegroundWindowd(["image", "label"], (6, 7, 5)),
            RandScaleIntensityd("image", factors=0.5, prob=1.0),
        ]
    )
    item = {key: MetaTensor(value) for key, value in numbered().items()}
    data = WholeVolumeDataset([item], transform)
    first = data[0]["image"].clone()
    first.mul_(2)
    for _ in range(3):
        ratio = data[0]["image"] / item["image"].as_tensor()
        assert ratio[item["image"].as_tensor() > 0].std() < 1e-6
    torch.testing.assert_close(item["image"].as_tensor(), numbered()["image"])


def test_errors():
    with pytest.raises(ValueError, match="share must lie in"):
        RandForegroundWindowd("image", (1, 1), share=1.1)
    with pytest.raises(ValueError, match="spatial_size must be sizes"):
        RandForegroundWindowd("image", (0, 1))
    with pytest.raises(ValueError, match="at least of the size"):
        RandForegroundWindowd("image", (9, 1, 1))(ForegroundPlacesd()(numbered()))


def test_places_are_missed():
    with pytest.raises(KeyError, match="'foreground' must say where the foreground is: put ForegroundPlacesd in front"):
        RandForegroundWindowd("image", (2, 2))({"image": torch.zeros(1, 4, 4)})
