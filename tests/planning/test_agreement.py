# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Mutual information by hand, and shifts that are known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from monai_mmseg.planning import best_shift, mutual_information

BOX = [(8, 56), (8, 56), (0, 3)]


def _smooth(seed: int = 0) -> torch.Tensor:
    noise = torch.rand(1, 3, 70, 70, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(noise, 7, 1)[0].permute(1, 2, 0)[None]


def test_information_of_a_known_table():
    # two values each; the joint counts 3, 1, 1, 3 of 8: 2 * 3/8 ln(3/2) + 2 * 1/8 ln(1/2)
    first = torch.tensor([0.0, 0, 0, 0, 1, 1, 1, 1])
    second = torch.tensor([0.0, 0, 0, 1, 0, 1, 1, 1])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert mutual_information(first, second, bins=2) == pytest.approx(expected)


def test_information_wants_values_in_pairs():
    with pytest.raises(ValueError, match=r"must be \(N,\) alike, got \(3,\) and \(2,\)"):
        mutual_information(torch.zeros(3), torch.zeros(2))


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (4, 0), (0, -6), (4, 4)])
def test_shift_is_found_whatever_the_grey_values(rows, columns):
    image = _smooth()
    other = (1 - torch.roll(image, (rows, columns), (1, 2))).square()
    found = best_shift(MetaTensor(image), MetaTensor(other), BOX)
    assert found == pytest.approx(math.hypot(rows, columns))


def test_shift_is_in_mm_on_any_grid():
    image = _smooth()
    affine = torch.diag(torch.tensor([1.5, 1.5, 4.0, 1.0]))
    moved = affine.clone()
    moved[0, 3] = 6.0  # the header says that it lies two voxels of the search further than it does
    first, second = MetaTensor(image, affine=affine), MetaTensor(image[:, ::1].clone(), affine=moved)
    assert best_shift(first, second, BOX) == pytest.approx(6.0)


def test_images_that_do_not_meet_say_nothing():
    image = _smooth()
    far = torch.eye(4)
    far[2, 3] = 100.0
    assert best_shift(MetaTensor(image), MetaTensor(image, affine=far), BOX) is None
