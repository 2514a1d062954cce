# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ResizeWithPadOrCrop

from monai_mmseg.transforms import ScaleIntensitySlices, ScaleIntensitySlicesd, scale_intensity


@pytest.fixture(scope="module")
def misc(reference):
    return np.load(reference / "dafnet_misc.npz")


@pytest.mark.parametrize("case", [0, 1])
def test_range_is_that_of_the_original(misc, case):
    values = torch.as_tensor(misc[f"rescale{case}_in"])
    scaled = scale_intensity(values, dims=list(range(values.ndim)))
    np.testing.assert_allclose(scaled, misc[f"rescale{case}_out"], atol=1e-12)


@pytest.mark.parametrize(("lower", "upper"), [(0.5, 99.5), (10, 80)])
def test_percentiles_are_those_of_numpy(lower, upper):
    image = torch.rand(3, 17, 13, 4, dtype=torch.float64)
    low, high = np.percentile(image.numpy(), [lower, upper], axis=(1, 2), keepdims=True)
    expected = np.clip((image.numpy() - low) / (high - low), 0, 1) * 2 - 1
    np.testing.assert_allclose(ScaleIntensitySlices(lower, upper)(image), expected, atol=1e-6)


def test_volume_mode_keeps_the_relation_between_slices():
    image = torch.tensor([0.0, 1.0, 2.0, 4.0]).reshape(1, 2, 1, 2)
    assert ScaleIntensitySlices(mode="volume")(image).flatten().tolist() == [-1.0, -0.5, 0.0, 1.0]
    assert ScaleIntensitySlices()(image)[..., 0].flatten().tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("percentiles", [(0, 100), (1, 99)])
def test_absent_stays_absent_and_counts_for_nothing(percentiles):
    image = torch.rand(2, 6, 6, 3)
    image[0, :, :, 1] = torch.nan
    scaled = ScaleIntensitySlices(*percentiles)(image)
    assert torch.isnan(scaled[0, :, :, 1]).all()
    assert torch.isfinite(scaled[1]).all()
    assert (scaled[0, :, :, 0].min(), scaled[0, :, :, 0].max()) == (-1, 1)
    volume = ScaleIntensitySlices(*percentiles, mode="volume")(image)
    assert torch.isfinite(volume[0, :, :, [0, 2]]).all()


def test_a_constant_slice_becomes_the_lower_end_and_metadata_stay():
    image = MetaTensor(torch.full((1, 4, 4, 2), 7.0), affine=torch.diag(torch.tensor([2.0, 2.0, 8.0, 1.0])))
    out = ScaleIntensitySlicesd("image")({"image": image})["image"]
    assert isinstance(out, MetaTensor)
    assert (out == -1).all()
    assert out.affine[2, 2] == 8


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"lower": 60, "upper": 40}, "got 60 and 40"),
        ({"mode": "stack"}, "got 'stack'"),
        ({"value_range": (1, -1)}, "two growing numbers"),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ScaleIntensitySlices(**kwargs)


def test_padding_and_even_crops_of_monai_are_those_of_the_original(misc):
    """Odd crops differ: the original cuts one row too many on both sides and repeats the edge; MONAI keeps the row."""
    image = torch.as_tensor(misc["rescale0_in"][0]).permute(2, 0, 1)  # 7 x 9 to 4 x 12: odd crop, odd pad
    for mode, key in (("edge", "crop0_edge"), ("minimum", "crop0_constant")):
        ours = ResizeWithPadOrCrop(misc["crop0_size"].tolist(), mode=mode)(image)
        theirs = torch.as_tensor(misc[key][0]).permute(2, 0, 1)
        assert ours.shape == theirs.shape
        if mode == "edge":
            # their rows 0..2 are rows 2..4 of the image, ours keep row 1 in front
            torch.testing.assert_close(ours.as_tensor()[:, 1:4], theirs[:, :3])
    wide = torch.as_tensor(misc["rescale1_in"]).permute(0, 3, 1, 2)  # 11 x 10 to 8 x 8: even crop of columns
    for ours, theirs in zip(wide, torch.as_tensor(misc["crop1_edge"]).permute(0, 3, 1, 2), strict=True):
        cropped = ResizeWithPadOrCrop(misc["crop1_size"].tolist(), mode="edge")(ours).as_tensor()
        torch.testing.assert_close(cropped[:, 1:8], theirs[:, :7])


def test_whole_numbers_become_floating_point():
    values = torch.tensor([[0, 5, 10]], dtype=torch.uint8)
    assert scale_intensity(values, dims=[1]).tolist() == [[-1.0, 0.0, 1.0]]
