# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_mmseg.preparation.layouts.layout import Case
from monai_mmseg.preparation.layouts.steps import CropAroundLabel, KeepSlices
from tests.synthetic_volumes import centered_affine, rotation

CASE = Case("s01", "ct", Path("s01.nii.gz"), Path("s01_label.nii.gz"))
SHAPE = (20, 18, 16)


def volumes(box, affine):
    """An image of running numbers, and a label that fills a box."""
    image = MetaTensor(torch.arange(float(np.prod(SHAPE))).reshape(1, *SHAPE), affine=affine)
    label = MetaTensor(torch.zeros(1, *SHAPE), affine=affine)
    label[(0, *box)] = 2
    return image, label


def assert_cut(cut, whole, box):
    """The voxels of a box, where they were in the body."""
    np.testing.assert_array_equal(cut.numpy(), whole.numpy()[(slice(None), *box)])
    expected = whole.affine.numpy().copy()
    expected[:3, 3] = (expected @ [*(one.start for one in box), 1])[:3]
    np.testing.assert_allclose(cut.affine.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("axes", [np.eye(3), rotation(5, -8, 12), np.diag([-1.0, -1, 1])], ids=["ras", "tilted", "lps"])
def test_box_of_at_least_a_size_around_the_label(axes):
    affine = centered_affine(SHAPE, (2.0, 1.0, 3.0), axes)
    image, label = volumes((slice(8, 10), slice(6, 11), slice(7, 9)), affine)
    # 16 mm are 8 voxels of 2 mm; the label and 2 mm before and behind are 9 mm; 6 mm and 2 x 2 mm are 10 mm
    box = (slice(5, 13), slice(4, 13), slice(6, 10))
    for cut, whole in zip(CropAroundLabel((16, 0, 6), 2)(image, label, CASE), (image, label), strict=True):
        assert_cut(cut, whole, box)


def test_sizes_belong_to_the_body_and_not_to_the_axes_of_the_file():
    affine = centered_affine(SHAPE, (1, 1, 1), np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
    image, label = volumes((slice(9, 11), slice(8, 10), slice(7, 9)), affine)
    cut, _ = CropAroundLabel((4, 6, 8), 0)(image, label, CASE)
    assert cut.shape[1:] == (6, 8, 4)


def test_box_ends_where_the_volume_ends():
    image, label = volumes((slice(0, 1), slice(17, 18), slice(4, 5)), torch.eye(4))
    cut, _ = CropAroundLabel()(image, label, CASE)
    assert_cut(cut, image, (slice(0, 20), slice(7, 18), slice(0, 16)))


def test_no_label_or_an_empty_one():
    image, label = volumes((slice(0), slice(0), slice(0)), torch.eye(4))
    assert CropAroundLabel()(image, None, CASE) == (image, None)
    with pytest.raises(ValueError, match=r"s01_label.nii.gz: nothing is labelled, so there is nothing to crop around"):
        CropAroundLabel()(image, label, CASE)


@pytest.mark.parametrize(("axes", "axis"), [(np.diag([-1.0, -1, 1]), 2), (np.eye(3)[[1, 2, 0]], 0)])
def test_a_range_of_axial_slices(axes, axis):
    image, label = volumes((slice(8, 10), slice(6, 11), slice(7, 9)), centered_affine(SHAPE, (1, 1, 1), axes))
    box = [slice(0, None)] * 3
    box[axis] = slice(3, 9)
    for cut, whole in zip(KeepSlices(3, 8)(image, label, CASE), (image, label), strict=True):
        assert_cut(cut, whole, tuple(box))
    with pytest.raises(ValueError, match=rf"s01.nii.gz: slices 3 to 30 are to be kept, but there are {SHAPE[axis]}"):
        KeepSlices(3, 30)(image, None, CASE)
