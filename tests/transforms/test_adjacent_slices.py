# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from monai_mmseg.transforms import AdjacentSlices, AdjacentSlicesd, OrientSlicesd
from monai_mmseg.transforms.adjacent_slices import pad_slices


@pytest.mark.parametrize("num_slices", [1, 3, 5, 7])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_equal_to_edge_padding_of_numpy(num_slices, dim):
    volume = torch.rand(1, 4, 5, 2)
    half = num_slices // 2
    padded = np.pad(volume[0].numpy(), [(half, half) if axis == dim else (0, 0) for axis in range(3)], mode="edge")
    expected = [np.take(padded, range(k, k + volume.shape[dim + 1]), axis=dim) for k in range(num_slices)]
    for spatial_dim in (dim, dim - 3):
        np.testing.assert_array_equal(AdjacentSlices(num_slices, spatial_dim)(volume).numpy(), np.stack(expected))


def test_the_middle_channel_is_the_volume_and_the_input_stays():
    volume = torch.rand(1, 4, 5, 6)
    before = volume.clone()
    stacked = AdjacentSlices(5)(volume)
    assert torch.equal(stacked[2:3], volume)
    stacked.zero_()
    assert torch.equal(volume, before)


def test_each_channel_has_neighbours_of_its_own():
    volume = torch.rand(2, 4, 5, 6)
    expected = torch.cat([AdjacentSlices(3)(channel[None]) for channel in volume])
    assert torch.equal(AdjacentSlices(3)(volume), expected)


def test_inversion_passes_it_by():
    affine = torch.diag(torch.tensor([8.0, 1.0, 1.0, 1.0]))
    image = MetaTensor(torch.rand(1, 3, 6, 5), affine=affine)
    steps = Compose([OrientSlicesd("image"), AdjacentSlicesd("image", 3)])
    data = steps({"image": image})
    assert data["image"].shape == (3, 5, 6, 3)
    assert isinstance(data["image"], MetaTensor)
    for channels in (1, 3, 5):  # whatever the number of classes
        pred = {**data, "pred": MetaTensor(data["image"].as_tensor()[1:2].expand(channels, -1, -1, -1).clone())}
        back = Invertd("pred", steps, "image", nearest_interp=False)(pred)["pred"]
        assert torch.equal(back.as_tensor(), image.as_tensor().expand(channels, -1, -1, -1))
        assert torch.equal(back.affine, image.affine)


def test_missing_keys():
    assert AdjacentSlicesd("image", allow_missing_keys=True)({"a": 1}) == {"a": 1}
    with pytest.raises(KeyError, match="image"):
        AdjacentSlicesd("image")({"a": 1})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdjacentSlices(2), "num_slices must be an odd number from 1, got 2"),
        (lambda: AdjacentSlices(0), "got 0"),
        (lambda: pad_slices(torch.zeros(2), 4), "odd number from 1, got 4"),
        (lambda: AdjacentSlices(3, 3), "spatial_dim must be .* got 3"),
        (lambda: AdjacentSlices()(torch.zeros(1, 3, 3)), r"got shape \(1, 3, 3\)"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
