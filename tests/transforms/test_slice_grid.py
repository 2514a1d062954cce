# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Volumes come to the grid of a network, and back."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ResizeWithPadOrCropd

from monai_mmseg.transforms import OrientSlicesd, SafeSpacingd, SpacingInPlaned, ToSliceGridd


def volume(values=None):
    affine = torch.tensor([[0.0, 2, 0, 1], [2, 0, 0, 2], [0, 0, 8, 3], [0, 0, 0, 1]])
    image = torch.rand(1, 20, 18, 5, generator=torch.Generator().manual_seed(0))
    return MetaTensor(image if values is None else values, affine=affine)


@pytest.mark.parametrize(
    ("spatial_size", "pixdim", "shape"),
    [
        ([16, 24], None, (16, 24, 5)),
        ([16, 24], [4.0, 4.0], (16, 24, 5)),
        ([16, 24], [4.0, 4.0, 4.0], (16, 24, 9)),  # from the first slice to the last: 4 x 8 mm
        ([16, 24, 8], [4.0, 4.0], (16, 24, 8)),  # three repeated slices
    ],
)
def test_shapes(spatial_size, pixdim, shape):
    item = {"image": volume(), "label": volume(torch.randint(3, (1, 20, 18, 5)).float())}
    to_grid = ToSliceGridd(spatial_size=spatial_size, pixdim=pixdim)
    there = to_grid(item)
    assert tuple(there["image"].shape) == tuple(there["label"].shape) == (1, *shape)
    assert set(there["label"].unique().tolist()) <= {0, 1, 2}
    back = to_grid.inverse(there)
    for key in item:
        assert back[key].shape == item[key].shape
        np.testing.assert_allclose(back[key].affine, item[key].affine, atol=1e-5)


@pytest.mark.parametrize(("pixdim", "spacing"), [([3.0, 3.0], SpacingInPlaned), ([3.0, 3.0, 5.0], SafeSpacingd)])
def test_it_is_its_steps_one_after_the_other(pixdim, spacing):
    """Each on its own, in MONAI's Compose."""
    item = {"image": volume(), "label": volume(torch.randint(3, (1, 20, 18, 5)).float())}
    keys, modes = ["image", "label"], ["bilinear", "nearest"]
    steps = [
        OrientSlicesd(keys, "axial"),
        spacing(keys, pixdim, mode=modes),
        ResizeWithPadOrCropd(keys, [32, 8, -1], mode=["edge", "constant"]),
    ]
    expected = Compose(steps)(item)
    found = ToSliceGridd(spatial_size=[32, 8], pixdim=pixdim, slice_axis="axial")(item)
    for key in keys:
        torch.testing.assert_close(found[key].as_tensor(), expected[key].as_tensor(), rtol=0, atol=0)


def test_a_missing_label_stays_missing():
    assert set(ToSliceGridd(spatial_size=[16, 16])({"image": volume()})) == {"image"}
