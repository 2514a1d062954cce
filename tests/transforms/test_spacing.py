# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Slices of a tilted stack are resampled within themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd

from monai_mmseg.transforms import OrientSlicesd, SpacingInPlaned, slice_pitch


def stack(tilt: float = 20.0, *, size: tuple[int, int, int] = (40, 36, 6)) -> MetaTensor:
    """Each slice knows its number, and a ramp within it the place of its voxels; head first."""
    affine = np.diag([2.0, 2.5, -8.0, 1.0])
    affine[1, 2] = 8 * np.tan(np.deg2rad(tilt))
    affine[:3, 3] = -80, -70, 48
    ramp = torch.arange(size[0], dtype=torch.float32)[None, :, None, None]
    return MetaTensor(ramp + 1000 * torch.arange(size[2]) + torch.zeros(1, *size), affine=torch.as_tensor(affine))


def points(volume: torch.Tensor) -> np.ndarray:
    """World position of every voxel."""
    grid = np.stack(np.meshgrid(*map(np.arange, volume.shape[1:]), indexing="ij"), -1)
    affine = np.asarray(volume.affine, dtype=np.float64)
    return grid @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("pixdim", [(2.5, 2.0), (4.0, 4.0), (1.3, 1.7)])
@pytest.mark.parametrize("tilt", [20.0, -20.0, 0.0])
def test_nothing_is_mixed_across_slices(pixdim, tilt):
    volume = OrientSlicesd("image")({"image": stack(tilt)})["image"]
    done = SpacingInPlaned("image", pixdim=pixdim)({"image": volume})["image"]
    assert done.shape[-1] == 6
    assert slice_pitch(done.affine) == pytest.approx(8)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(done.affine)[:3, :2], axis=0), pixdim, atol=1e-6)
    values, before = np.asarray(done[0]), np.asarray(volume[0])
    numbers = np.round(values / 1000)
    assert (numbers == np.round(before[:1, :1] / 1000)).all()  # each slice is one slice of the file
    # the ramp runs along x: interpolated, it tells where each voxel lies
    x = -80 + 2 * (values - 1000 * numbers)
    inside = (values - 1000 * numbers > 0) & (values - 1000 * numbers < 39)
    np.testing.assert_allclose(x[inside], points(done)[..., 0][inside], atol=1e-2)
    # and each slice lies in the plane that it had
    if pixdim == (2.5, 2.0):  # nothing to do
        assert done.shape == volume.shape
        np.testing.assert_allclose(done.affine, volume.affine, atol=1e-9)
        np.testing.assert_allclose(values, before, atol=1e-3)
    normal = np.array([0, 0, 1.0])
    np.testing.assert_allclose(points(done)[0, 0] @ normal, points(volume)[0, 0] @ normal, atol=1e-6)
    # the corner of the slices moves with them
    corner = np.asarray(volume.affine) @ [-0.5, -0.5, 5, 1] - np.asarray(done.affine) @ [-0.5, -0.5, 5, 1]
    first = np.asarray(volume.affine) @ [-0.5, -0.5, 0, 1] - np.asarray(done.affine) @ [-0.5, -0.5, 0, 1]
    np.testing.assert_allclose(corner, first, atol=1e-9)


def test_a_prediction_goes_back_to_where_the_slices_lie():
    image = stack()
    steps = [OrientSlicesd("image"), SpacingInPlaned("image", pixdim=(4.0, 4.0))]
    data = {"image": image}
    for step in steps:
        data = step(data)
    data["pred"] = MetaTensor(data["image"].as_tensor().clone(), affine=data["image"].affine)
    for step in reversed(steps):
        data = Invertd("pred", transform=step, orig_keys="image", nearest_interp=False)(data)
        data["image"] = data["pred"]
    restored = data["pred"]
    assert restored.shape == image.shape
    np.testing.assert_allclose(restored.affine, image.affine, atol=1e-9)
    inner = (slice(None), slice(4, -4))
    np.testing.assert_allclose(restored.as_tensor()[inner], image.as_tensor()[inner], atol=1e-2)
