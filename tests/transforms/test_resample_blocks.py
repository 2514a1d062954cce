# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Interpolation in blocks, against MONAI's ``AffineTransform`` and ``Spacing`` on the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.layers import AffineTransform
from monai.transforms import Spacing

from monai_mmseg.transforms.resample_blocks import most_likely, resample_in_blocks
from monai_mmseg.transforms.spacing import ONLY_CLASSES, inverse_in_blocks

SIZES = [(41, 30, 24), (7, 40, 3), (1, 1, 5)]


def whole(values, xform, size, border):
    padding = "border" if border else "zeros"
    sample = AffineTransform(
        normalized=False, mode="bilinear", padding_mode=padding, align_corners=False, reverse_indexing=True
    )
    return sample(values[None].double(), theta=xform, spatial_size=size)[0].float()


@pytest.mark.parametrize("border", [True, False])
@pytest.mark.parametrize("shear", [0.0, 0.1])
@pytest.mark.parametrize("size", SIZES)
def test_blocks_are_the_whole(size, shear, border):
    values = torch.rand(3, 20, 17, 9, generator=torch.Generator().manual_seed(0))
    xform = torch.diag(torch.tensor([0.43, 0.61, 0.37, 1.0], dtype=torch.float64))
    xform[:3, 3] = torch.tensor([-0.2, 0.1, 1.3])
    xform[0, 1] = shear
    wanted = whole(values, xform, size, border)
    for block_values in (1, 5000, 1 << 23):
        found = resample_in_blocks(values, xform, size, border=border, block_values=block_values)
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
        labels = resample_in_blocks(values, xform, size, border=border, block_values=block_values, finish=most_likely)
        assert labels.dtype == torch.uint8
        assert torch.equal(labels[0].long(), wanted.argmax(0)) or not border


def test_a_single_slice_and_a_turned_axis():
    values = torch.rand(2, 6, 5, 1)
    xform = torch.diag(torch.tensor([-0.5, 1.0, 0.2, 1.0], dtype=torch.float64))
    xform[0, 3] = 5
    torch.testing.assert_close(
        resample_in_blocks(values, xform, (11, 5, 4)), whole(values, xform, (11, 5, 4), True), atol=1e-6, rtol=0
    )


def test_the_first_of_equal_classes_and_many_classes():
    assert most_likely(torch.ones(3, 1, 1, 2)).flatten().tolist() == [0, 0]
    many = torch.zeros(300, 1, 1, 1)
    many[280] = 1
    assert most_likely(many).item() == 280


def test_shapes_are_told():
    with pytest.raises(ValueError, match=r"values must be \(C, X, Y, Z\)"):
        resample_in_blocks(torch.zeros(2, 2), torch.eye(4), (2, 2, 2))


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("sheared", [False, True])
def test_spacing_goes_back_as_monai_does(padding, sheared):
    affine = torch.diag(torch.tensor([0.8, 0.9, 2.5, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-20.0, 3.0, 5.0])
    affine[0, 1] = 0.3 if sheared else 0
    volume = MetaTensor(torch.rand(1, 30, 28, 12), affine=affine)
    spacing = Spacing((1.5, 1.5, 8.0), padding_mode=padding)
    coarse = spacing(volume)
    several = torch.rand(4, *coarse.shape[1:])

    def made():
        return MetaTensor(several.clone()).copy_meta_from(coarse)

    wanted = spacing.inverse(made())
    found = inverse_in_blocks(spacing, made())
    torch.testing.assert_close(found.as_tensor(), wanted.as_tensor(), atol=1e-6, rtol=0)
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-9)
    assert found.applied_operations == wanted.applied_operations == []
    asked = made()
    asked.meta = {**asked.meta, ONLY_CLASSES: True}
    labels = inverse_in_blocks(spacing, asked)
    assert ONLY_CLASSES not in labels.meta
    assert torch.equal(labels[0].as_tensor().long(), wanted.as_tensor().argmax(0))


def test_other_modes_are_left_to_monai():
    spacing = Spacing(2.0, mode="nearest")
    coarse = spacing(MetaTensor(torch.arange(64.0).reshape(1, 4, 4, 4)))
    copies = [MetaTensor(coarse.as_tensor().clone()).copy_meta_from(coarse) for _ in range(2)]
    torch.testing.assert_close(inverse_in_blocks(spacing, copies[0]), spacing.inverse(copies[1]))
