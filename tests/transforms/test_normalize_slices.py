# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import NormalizeIntensity

from monai_mmseg.transforms import NormalizeIntensitySlices, NormalizeIntensitySlicesd


def test_each_slice_as_monai_does_alone():
    volume = torch.rand(2, 6, 5, 4) * 300 + 40
    found = NormalizeIntensitySlices()(volume)
    alone = NormalizeIntensity(channel_wise=True)
    expected = torch.stack([torch.as_tensor(alone(volume[..., k])) for k in range(4)], -1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(NormalizeIntensitySlices()(volume[..., 1]), found[..., 1])


def test_constant_slice_and_absent_pixels():
    volume = torch.rand(1, 4, 4, 3)
    volume[..., 1] = 7000.1
    volume[..., 2] = torch.nan
    volume[0, 0, 0, 0] = torch.nan
    found = NormalizeIntensitySlices()(volume)
    assert not found[..., 1].any()
    assert found[..., 2].isnan().all()
    kept = found[..., 0][~found[..., 0].isnan()]
    assert len(kept) == 15
    torch.testing.assert_close(kept.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(kept.std(correction=0), torch.tensor(1.0))


def test_meta_data_stay_and_integers_are_taken():
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))
    image = MetaTensor(torch.randint(0, 9, (1, 4, 4, 2)), affine=affine)
    found = NormalizeIntensitySlicesd("image")({"image": image, "label": 1})
    assert found["label"] == 1
    torch.testing.assert_close(found["image"].affine, affine.double(), check_dtype=False)
    assert found["image"].dtype == torch.float32
    assert image.max() > 1  # the input is as it was


def test_messages():
    with pytest.raises(ValueError, match=r"img must have shape .* got \(4, 4\)"):
        NormalizeIntensitySlices()(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="eps must be positive, got 0"):
        NormalizeIntensitySlices(0)
    with pytest.raises(KeyError):
        NormalizeIntensitySlicesd("image")({})
